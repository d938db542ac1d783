import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { algorithmOf, type Digest, digestOf, parseDigest } from '../oci/digest.ts'
import { ContentMismatch, UpstreamError } from '../oci/error.ts'
import { manifestMediaType } from '../oci/manifest.ts'
import { acceptManifests, essence } from '../oci/media-type.ts'
import type { Reference } from '../oci/reference.ts'
import { statusError } from './failure.ts'
import { type HeadSupport, headOrUnclear } from './head-support.ts'
import type { RegistryClient, UpstreamRequest, UpstreamResponse } from './registry-client.ts'
import { readWhole } from './transfer/body.ts'
import type { UpstreamLimits } from './transfer/limits.ts'
import { contentEncodingOf, contentLengthOf, headerOf } from './transfer/response.ts'
import type { KnownTag } from './upstream.ts'

/** In whose name to ask, for how long, and where to report the upstream's health. */
export type RequestContext = Pick<UpstreamRequest, 'identity' | 'signal' | 'health'>

/** A manifest from an upstream's answer. */
export interface Fetched {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  readonly body: Buffer
  readonly etag: string | undefined
  readonly withLogin: boolean
}

export type Finding =
  | { readonly kind: 'unchanged'; readonly withLogin: boolean }
  | { readonly kind: 'descriptor'; readonly head: Omit<Fetched, 'body'> }
  | { readonly kind: 'manifest'; readonly fetched: Fetched }

/** `refused`: the registry refused the identity. `absent`: it does not have the manifest. */
export type Missing = 'absent' | 'refused'

export interface RegistryManifestsOptions {
  readonly upstream: string
  readonly limits: UpstreamLimits
  readonly client: RegistryClient
  readonly headSupport: HeadSupport
}

type Got = Exclude<Finding, { kind: 'descriptor' }> | Missing

/** Manifests of one registry, by HEAD and by GET. */
export class RegistryManifests {
  readonly #options: RegistryManifestsOptions

  constructor(options: RegistryManifestsOptions) {
    this.#options = options
  }

  async get(repository: string, reference: Reference, context: RequestContext): Promise<Fetched | Missing> {
    const got = await this.#get(repository, reference, undefined, context)
    if (typeof got === 'string') return got
    if (got.kind === 'unchanged') throw this.#unexpected('GET', 304)
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
    const useless = headSupport.isUseless('manifest', repository)
    const head = useless ? 'unclear' : await this.#head(repository, reference, known, context)
    if (head !== 'unclear' && head !== 'refused') return head
    if (head === 'refused' && headSupport.isConfirmed(pathOf(repository, reference))) return 'refused'
    const got = await this.#get(repository, reference, known, context)
    if (head === 'refused' && got === 'refused') headSupport.confirm(pathOf(repository, reference))
    else if (got !== 'absent') headSupport.markUseless('manifest', repository)
    if (typeof got === 'string') return got
    const same = got.kind === 'manifest' && got.fetched.digest === known?.digest
    return same ? { kind: 'unchanged', withLogin: got.fetched.withLogin } : got
  }

  async #head(
    repository: string,
    reference: Reference,
    known: KnownTag | undefined,
    context: RequestContext,
  ): Promise<Finding | Missing | 'unclear'> {
    const answer = await headOrUnclear(() => this.#ask('HEAD', repository, reference, known, context))
    if (answer === 'unclear' || answer === 'refused') return answer
    const { status, headers, withLogin } = answer
    if (status === 404) return 'absent'
    if (status === 304 && known) return { kind: 'unchanged', withLogin }
    const digest = parseDigest(headerOf(headers, 'docker-content-digest') ?? '')
    if (status !== 200 || !digest || ('digest' in reference && digest !== reference.digest)) return 'unclear'
    if (digest === known?.digest) return { kind: 'unchanged', withLogin }
    const mediaType = essence(headerOf(headers, 'content-type') ?? '')
    const size = contentEncodingOf(headers) ? undefined : contentLengthOf(headers)
    // registry.access.redhat.com sends text/plain for some old images: then only the body shows the media type.
    if (!size || !mediaType.startsWith('application/vnd.')) return 'unclear'
    return { kind: 'descriptor', head: { digest, mediaType, size, etag: headerOf(headers, 'etag'), withLogin } }
  }

  async #get(
    repository: string,
    reference: Reference,
    known: KnownTag | undefined,
    context: RequestContext,
  ): Promise<Got> {
    const answer = await this.#ask('GET', repository, reference, known, context)
    if (answer === 'refused') return answer
    const { status, headers, body, withLogin } = answer
    if (status !== 200) {
      body.discard()
      if (status === 404) return 'absent'
      if (status === 304 && known?.etag !== undefined) return { kind: 'unchanged', withLogin }
      throw this.#unexpected('GET', status)
    }
    const bytes = await this.#read(answer)
    const digest = digestOf(bytes, 'digest' in reference ? algorithmOf(reference.digest) : undefined)
    if ('digest' in reference && digest !== reference.digest) throw new ContentMismatch(reference.digest, digest)
    const mediaType = manifestMediaType(headerOf(headers, 'content-type'), bytes)
    const etag = headerOf(headers, 'etag')
    return { kind: 'manifest', fetched: { digest, mediaType, size: bytes.length, body: bytes, etag, withLogin } }
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

  async #read({ headers, body }: UpstreamResponse): Promise<Buffer> {
    const { upstream, limits } = this.#options
    const bytes = await readWhole(body, contentLengthOf(headers), limits.manifestBytes, upstream)
    const encoding = contentEncodingOf(headers)
    if (encoding === undefined) return bytes
    const decode = decoders.get(encoding)
    if (!decode) throw new UpstreamError(upstream, 'protocol', 'manifest in an unknown content encoding')
    try {
      return await decode(bytes, { maxOutputLength: limits.manifestBytes })
    } catch (cause) {
      throw new UpstreamError(upstream, 'protocol', 'manifest with a broken content encoding', { cause })
    }
  }

  #unexpected(method: 'GET' | 'HEAD', status: number): UpstreamError {
    return statusError(this.#options.upstream, `${method} manifest`, status, undefined)
  }
}

/** registry.access.redhat.com compresses some answers although we ask for `identity`. */
const decoders = new Map([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
])

function pathOf(repository: string, reference: Reference): string {
  return `${repository}/manifests/${'tag' in reference ? reference.tag : reference.digest}`
}
