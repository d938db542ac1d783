import type { Digest } from '../oci/digest.ts'
import type { UpstreamError } from '../oci/error.ts'
import { acceptManifests } from '../oci/media-type.ts'
import type { Reference } from '../oci/reference.ts'
import { Conditions } from './conditions.ts'
import { readDecoded } from './content-coding.ts'
import { statusError } from './failure.ts'
import { type HeadSupport, headOrUnclear } from './head-support.ts'
import { faultError, isNotModified, judgeCurrency, judgeManifest, judgeManifestHead } from './judge.ts'
import type { MissingJudge } from './missing.ts'
import type { RegistryClient, UpstreamRequest, UpstreamResponse } from './registry-client.ts'
import type { UpstreamLimits } from './transfer/limits.ts'
import { headerOf } from './transfer/response.ts'
import type { Currency, KnownTag } from './upstream.ts'

/** In whose name to ask, for how long, and where to report the upstream's health. */
export type RequestContext = Pick<UpstreamRequest, 'identity' | 'signal' | 'health'>

/** A manifest from an upstream's answer. */
export interface Fetched {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  readonly body: Buffer
  readonly etag: string | undefined
  readonly signed: boolean
  readonly currency: Currency
  readonly withLogin: boolean
}

export type Finding =
  | { readonly kind: 'unchanged'; readonly currency: Currency }
  | {
      readonly kind: 'descriptor'
      readonly head: Omit<Fetched, 'body' | 'signed' | 'withLogin'>
      /** Whether the answer told a rate limit: a GET is counted then. */
      readonly isCounted: boolean
    }
  | { readonly kind: 'manifest'; readonly fetched: Fetched }

/** `refused`: the registry refused the identity. `absent`: it does not have the manifest. */
export type Missing = 'absent' | 'refused'

export interface RegistryManifestsOptions {
  readonly upstream: string
  readonly limits: UpstreamLimits
  readonly client: RegistryClient
  readonly headSupport: HeadSupport
  readonly missing: MissingJudge
  /** Epoch milliseconds. */
  readonly now: () => number
}

type Got = Exclude<Finding, { kind: 'descriptor' }> | Missing

/** Manifests of one registry, by HEAD and by GET. */
export class RegistryManifests {
  readonly #options: RegistryManifestsOptions
  readonly #conditions: Conditions

  constructor(options: RegistryManifestsOptions) {
    this.#options = options
    this.#conditions = new Conditions(options.now)
  }

  async get(repository: string, reference: Reference, context: RequestContext): Promise<Fetched | Missing> {
    const got = await this.#get(repository, reference, undefined, context)
    if (typeof got === 'string') return got
    if (got.kind === 'unchanged') throw this.#unexpected(repository, reference, 304)
    return got.fetched
  }

  /**
   * Sends a HEAD first, since Docker Hub counts every GET, also one that it answers with 304. Then a GET, if HEAD does
   * not say enough.
   */
  async find(
    repository: string,
    reference: Reference,
    known: KnownTag | undefined,
    context: RequestContext,
  ): Promise<Finding | Missing> {
    const { headSupport } = this.#options
    const path = pathOf(repository, reference)
    const useless = headSupport.isUseless('manifest', repository)
    const head = useless ? 'unclear' : await this.#head(repository, reference, known, context)
    if (head !== 'unclear' && head !== 'refused') return head
    if (head === 'refused' && headSupport.isConfirmed(path)) return 'refused'
    const got = await this.#get(repository, reference, known, context)
    if (head === 'refused' && got === 'refused') headSupport.confirm(path)
    else if (got !== 'absent') headSupport.markUseless('manifest', repository)
    if (typeof got === 'string' || got.kind === 'unchanged') return got
    const { digest, currency } = got.fetched
    return digest === known?.digest ? { kind: 'unchanged', currency } : got
  }

  async #head(
    repository: string,
    reference: Reference,
    known: KnownTag | undefined,
    context: RequestContext,
  ): Promise<Finding | Missing | 'unclear'> {
    const { headSupport, missing } = this.#options
    const path = pathOf(repository, reference)
    const condition = this.#conditions.of(path, known)
    const answer = await headOrUnclear(() => this.#ask('HEAD', repository, reference, condition, context))
    if (answer === 'unclear' || answer === 'refused') return answer
    const { headers, status } = answer
    const verdict = judgeManifestHead(answer, reference, condition)
    if (verdict === 'missing') {
      // Nexus answers 404 to every HEAD. Before a record goes, a GET has to say so too.
      if (known || !headSupport.hasAnswered('manifest')) return 'unclear'
      return (await missing.isOwn(answer, context.signal)) ? 'absent' : 'unclear'
    }
    if (verdict === 'contradicted') this.#conditions.doubted(path)
    if (verdict === 'contradicted' || verdict === 'unclear') return 'unclear'
    if (status === 200) headSupport.markAnswered('manifest')
    this.#note(path, status)
    const currency = judgeCurrency(headers)
    if (verdict === 'unchanged') return { kind: 'unchanged', currency }
    const isCounted = headerOf(headers, 'ratelimit-limit') !== undefined
    return { kind: 'descriptor', head: { ...verdict, currency }, isCounted }
  }

  async #get(
    repository: string,
    reference: Reference,
    known: KnownTag | undefined,
    context: RequestContext,
  ): Promise<Got> {
    const { upstream, limits, missing } = this.#options
    const path = pathOf(repository, reference)
    const condition = this.#conditions.of(path, known)
    const answer = await this.#ask('GET', repository, reference, condition, context)
    if (answer === 'refused') return answer
    const { status, headers, body, withLogin } = answer
    const asked = `GET manifest ${path}`
    const currency = judgeCurrency(headers)
    if (status === 404) {
      await missing.confirm(answer, asked, context.signal)
      return 'absent'
    }
    if (status !== 200) {
      body.discard()
      if (status !== 304) throw this.#unexpected(repository, reference, status)
      if (!isNotModified(headers, condition)) {
        this.#conditions.doubted(path)
        throw this.#unexpected(repository, reference, status)
      }
      this.#note(path, status)
      return { kind: 'unchanged', currency }
    }
    const bytes = await readDecoded(answer, limits.manifestBytes, { upstream, asked })
    const judged = judgeManifest(headers, bytes, reference)
    if ('what' in judged) throw faultError(upstream, asked, judged)
    this.#note(path, status)
    const etag = headerOf(headers, 'etag')
    const fetched = { ...judged, size: bytes.length, body: bytes, etag, currency, withLogin }
    return { kind: 'manifest', fetched }
  }

  #note(path: string, status: number): void {
    if (status === 304) this.#conditions.unseen(path)
    else this.#conditions.seen(path)
  }

  #ask(
    method: 'GET' | 'HEAD',
    repository: string,
    reference: Reference,
    known: KnownTag | undefined,
    context: RequestContext,
  ): Promise<UpstreamResponse | 'refused'> {
    const path = pathOf(repository, reference)
    const headers = { accept: acceptManifests, ...(known?.etag !== undefined && { 'if-none-match': known.etag }) }
    return this.#options.client.ask({ kind: 'manifest', method, repository, path, headers, ...context })
  }

  #unexpected(repository: string, reference: Reference, status: number): UpstreamError {
    return statusError(this.#options.upstream, `GET manifest ${pathOf(repository, reference)}`, status, undefined)
  }
}

function pathOf(repository: string, reference: Reference): string {
  return `${repository}/manifests/${'tag' in reference ? reference.tag : reference.digest}`
}
