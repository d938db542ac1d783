import type { Digest } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import type { Reference } from '../oci/reference.ts'
import { Authorizer } from './auth/authorizer.ts'
import { type Credential, Credentials, type Refusal } from './auth/credentials.ts'
import { Privacy } from './auth/privacy.ts'
import { Tokens } from './auth/tokens.ts'
import { Blobs } from './blobs.ts'
import { Exchange } from './exchange.ts'
import { Heads } from './head-support.ts'
import { type Asking, type Fetched, type Finding, Manifests, type Missing } from './manifests.ts'
import { parseRateLimit } from './rate-limit.ts'
import { Rest } from './rest.ts'
import { type Attempt, Attempts } from './transfer/attempts.ts'
import { BlobChunks } from './transfer/blob-chunks.ts'
import { BlobDownload } from './transfer/blob-download.ts'
import type { FetchPool } from './transfer/fetch-pool.ts'
import type { Limits } from './transfer/limits.ts'
import type { Headers } from './transfer/response.ts'
import type { ResponseBody } from './transfer/response-body.ts'
import { type RequestKind, Transport } from './transfer/transport.ts'
import type {
  BlobRest,
  BlobSource,
  BlobSpan,
  BlobToFile,
  Known,
  Manifest,
  RateLimit,
  Resolution,
  Upstream,
  UpstreamStatus,
  Visibility,
} from './upstream.ts'
import { pause } from './wait.ts'

/** What a registry tells the world. Functions are quick and never throw. */
export interface UpstreamReport {
  /** Our login was refused, or cannot be used: an operator has to act. */
  readonly onRefused: (refusal: Refusal) => void
  /** `status` is undefined where no answer came; `seconds` until the headers. */
  readonly onRequest?: ((kind: RequestKind, status: number | undefined, seconds: number) => void) | undefined
}

export interface RegistryUpstreamOptions {
  /** As users write it: `docker.io`. */
  readonly name: string
  /** Where it is: `https://registry-1.docker.io`. A path stands before `/v2/`. */
  readonly url: URL
  readonly credential?: Credential | undefined
  /** Where the login may go besides the registry's own domain: a host, with a port if need be, or a URL. */
  readonly tokenRealm?: URL | string | undefined
  readonly privateRepositories: 'refuse' | 'serve'
  readonly limits: Limits
  /** Fetch what is large. */
  readonly threads?: FetchPool | undefined
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly report: UpstreamReport
}

/** An upstream that speaks the distribution API. Nothing is sent before it is asked something. */
export class RegistryUpstream implements Upstream, AsyncDisposable {
  readonly name: string
  readonly servesPrivate: boolean
  readonly #limits: Limits
  readonly #transport: Transport
  readonly #privacy: Privacy
  readonly #manifests: Manifests
  readonly #blobs: Blobs
  readonly #rest: Rest
  #rateLimit: { readonly strangers?: RateLimit; readonly login?: RateLimit } = {}

  constructor(options: RegistryUpstreamOptions) {
    const { name, url, credential, tokenRealm, privateRepositories, limits, threads, now, report } = options
    this.name = name
    this.servesPrivate = privateRepositories === 'serve'
    this.#limits = limits
    const upstream = name
    const credentials = new Credentials({ credential, rest: limits.refusedLogin, now, onRefused: report.onRefused })
    const transport = new Transport({ upstream, limits, threads, now, onRequest: report.onRequest })
    const realm = tokenRealm instanceof URL ? tokenRealm.href : tokenRealm
    const tokens = new Tokens({ upstream, home: url, tokenRealm: realm, limits, now, transport, credentials })
    const authorizer = new Authorizer({ upstream, tokens, credentials, transport, now })
    const onHeaders = this.#hearRateLimit.bind(this)
    const exchange = new Exchange({ upstream, home: url, limits, now, transport, authorizer, credentials, onHeaders })
    const heads = new Heads(now)
    this.#transport = transport
    this.#privacy = new Privacy({ hasLogin: credential !== undefined, privateRepositories, now })
    this.#manifests = new Manifests({ upstream, limits, exchange, heads })
    this.#blobs = new Blobs({ upstream, exchange, heads })
    const { rest: first, restMax: longest, restRetryAfterMax: longestAsked } = limits
    this.#rest = new Rest({ upstream, first, longest, longestAsked, now })
  }

  get restsUntil(): number | undefined {
    return this.#rest.until
  }

  overdue(): void {
    this.#rest.overdue()
  }

  async resolve(
    name: string,
    tag: string,
    known: Known | undefined,
    signal: AbortSignal,
  ): Promise<Resolution | undefined> {
    const answer = await this.#rest.run(signal, async (lease): Promise<Resolution | Missing> => {
      const found = await this.#find(name, { tag }, known, { signal, lease })
      if (typeof found === 'string') return found
      if (found.kind === 'manifest') return { kind: 'manifest', manifest: this.#manifestOf(found.fetched) }
      if (found.kind === 'unchanged') return { kind: 'unchanged', visibility: this.#visibilityOf(found) }
      const { digest, mediaType, size, etag } = found.head
      const visibility = this.#visibilityOf(found.head)
      return { kind: 'descriptor', descriptor: { digest, mediaType, size }, etag, visibility }
    })
    return unlessMissing(answer)
  }

  async manifest(name: string, reference: Reference, signal: AbortSignal): Promise<Manifest | undefined> {
    const answer = await this.#rest.run(signal, async (lease): Promise<Manifest | Missing> => {
      if (this.#privacy.needsProof(name)) {
        const found = await this.#find(name, reference, undefined, { signal, lease })
        if (typeof found === 'string') return found
        if (found.kind === 'manifest') return this.#manifestOf(found.fetched)
      }
      const identity = this.#privacy.identityFor(name)
      const fetched = await this.#manifests.get(name, reference, { identity, signal, lease })
      return typeof fetched === 'string' ? fetched : this.#manifestOf(fetched)
    })
    return unlessMissing(answer)
  }

  statBlob(
    name: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ size: number | undefined; visibility: Visibility } | undefined> {
    return this.#rest.run(signal, async (lease) => {
      const present = await this.#stat(name, digest, { signal, lease })
      return present && { size: present.size, visibility: this.#visibilityOf(present) }
    })
  }

  async blob(name: string, digest: Digest, span: BlobSpan, signal: AbortSignal): Promise<BlobSource | undefined> {
    const attempts = await this.#attempts(name, digest, span.start, signal, (start, asking) =>
      this.#blobs.open(name, digest, { start, end: span.end }, asking),
    )
    if (!attempts) return undefined
    const { size } = attempts.current
    return { size, visibility: this.#visibilityOf(attempts.current), body: new BlobChunks(attempts) }
  }

  async download(name: string, digest: Digest, rest: BlobRest, signal: AbortSignal): Promise<BlobToFile | undefined> {
    const attempts = await this.#attempts(name, digest, rest.start, signal, (start, asking) =>
      this.#blobs.download(name, digest, { start, size: rest.size }, asking),
    )
    if (!attempts) return undefined
    const { size } = attempts.current
    const download = new BlobDownload(attempts)
    return {
      size,
      visibility: this.#visibilityOf(attempts.current),
      into: (file) => download.into(file),
      close: () => download.close(),
    }
  }

  status(): UpstreamStatus {
    const { requests, errors } = this.#transport
    const { strangers, login } = this.#rateLimit
    const state = this.restsUntil === undefined ? 'ok' : 'resting'
    return { name: this.name, state, requests, errors, rateLimit: login ?? strangers ?? null }
  }

  /** Breaks what is running off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  async #find(
    name: string,
    reference: Reference,
    known: Known | undefined,
    asking: Omit<Asking, 'identity'>,
  ): Promise<Finding | Missing> {
    const identity = this.#privacy.identityFor(name)
    const found = await this.#manifests.find(name, reference, known, { ...asking, identity })
    if (typeof found !== 'string' && identity === 'anonymous') this.#privacy.prove(name)
    return found
  }

  async #stat(name: string, digest: Digest, asking: Omit<Asking, 'identity'>) {
    const identity = this.#privacy.identityFor(name)
    const present = await this.#blobs.stat(name, digest, { ...asking, identity })
    if (present && identity === 'anonymous') this.#privacy.prove(name)
    return present
  }

  async #attempts<Content extends ResponseBody>(
    name: string,
    digest: Digest,
    start: number,
    signal: AbortSignal,
    open: Open<Content>,
  ): Promise<Attempts<Content> | undefined> {
    const closing = new AbortController()
    const either = AbortSignal.any([signal, closing.signal])
    const first = await this.#rest.run(either, (lease) =>
      this.#open(name, digest, { signal: either, lease }, (asking) => open(start, asking)),
    )
    if (!first) return undefined
    return new Attempts({
      upstream: this.name,
      limits: this.#limits,
      start,
      first,
      // Not held up by a rest: its attempts are few, and a running body is what a rest is meant to spare for.
      reopen: (offset) =>
        this.#rest.bypass((lease) => {
          const identity = this.#privacy.identityFor(name)
          return open(offset, { identity, signal: either, lease })
        }),
      signal: either,
      close: () => closing.abort(),
    })
  }

  async #open<Content extends ResponseBody>(
    name: string,
    digest: Digest,
    asking: Omit<Asking, 'identity'>,
    open: (asking: Asking) => Promise<Attempt<Content> | undefined>,
  ): Promise<Attempt<Content> | undefined> {
    const { lease, signal } = asking
    if (this.#privacy.needsProof(name) && !(await this.#stat(name, digest, asking))) return undefined
    let answered = false
    const watched = {
      asked: () => {
        answered = false
        lease.asked()
      },
      answered: () => {
        answered = true
        lease.answered()
      },
    }
    const identity = this.#privacy.identityFor(name)
    const attempt = () => open({ identity, signal, lease: watched })
    try {
      return await attempt()
    } catch (error) {
      // The storage that the registry sent us to: another redirect may lead elsewhere.
      if (!answered || !(error instanceof UpstreamError) || error.kind === 'protocol') throw error
      await pause(this.#limits.resumeDelay, signal)
      return attempt()
    }
  }

  #manifestOf({ withLogin, ...manifest }: Fetched): Manifest {
    return { ...manifest, visibility: this.#visibilityOf({ withLogin }) }
  }

  #visibilityOf({ withLogin }: { readonly withLogin: boolean }): Visibility {
    return withLogin && this.servesPrivate ? 'unproven' : 'public'
  }

  #hearRateLimit(headers: Headers, withLogin: boolean): void {
    const limit = parseRateLimit(headers)
    if (limit) this.#rateLimit = { ...this.#rateLimit, [withLogin ? 'login' : 'strangers']: limit }
  }
}

/** Sends one request for a blob's bytes, from an offset on. */
type Open<Content extends ResponseBody> = (start: number, asking: Asking) => Promise<Attempt<Content> | undefined>

/** Absence as the port tells it. */
function unlessMissing<T extends object>(answer: T | Missing): T | undefined {
  if (answer === 'refused') throw new RegistryError('NAME_UNKNOWN')
  return answer === 'absent' ? undefined : answer
}
