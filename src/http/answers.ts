import type { ServedBlob } from '../cache/blobs.ts'
import type { Mirror, ServedManifest } from '../cache/mirror.ts'
import type { Outcome } from '../cache/observer.ts'
import { UpstreamError } from '../oci/error.ts'
import { octetStream } from '../oci/media-type.ts'
import { formatContentRange, lengthOf } from '../oci/range.ts'
import { cacheStatus, noneMatch } from './cache-status.ts'
import type { RegistryRequest } from './request.ts'
import { namespaceHeader } from './route.ts'

type ManifestRequest = Extract<RegistryRequest, { kind: 'manifest' }>
type BlobRequest = Extract<RegistryRequest, { kind: 'blob' }>

/** A body that is read while it is sent. Whoever gets the answer closes the reader. */
export interface StreamedBody {
  readonly reader: Exclude<ServedBlob['body'], Buffer | undefined>
  /** Bytes; undefined where nobody knows, and then it is sent in chunks. */
  readonly length: number | undefined
}

/** What a request is answered with: all of it but what belongs to one exchange or connection, such as its id. */
export interface Answer {
  readonly status: number
  /** Names and values in turn. */
  readonly headers: readonly string[]
  /** Undefined for HEAD and 304. */
  readonly body: Buffer | StreamedBody | undefined
  readonly outcome: Outcome | undefined
  /** What the answer was made from. Together with `age` it decides whether a later answer would be the same. */
  readonly content: unknown
  /** Seconds, as its header says; undefined where it says none. */
  readonly age: number | undefined
}

export interface AnswersOptions {
  readonly mirror: Mirror
  /** Epoch milliseconds. */
  readonly now: () => number
}

const immutable = 'max-age=31536000, immutable'
const pong = Buffer.from('{}')
const pongHeaders = ['Content-Type', 'application/json', 'Content-Length', `${pong.length}`]

/** Decides how requests are answered: the one place for the status and the headers of content. */
export class Answers {
  readonly #mirror: Mirror
  readonly #now: () => number
  readonly #pongs: Readonly<Record<'GET' | 'HEAD', Answer>>

  constructor({ mirror, now }: AnswersOptions) {
    this.#mirror = mirror
    this.#now = now
    const get = { status: 200, headers: pongHeaders, body: pong, outcome: undefined, content: pong, age: undefined }
    this.#pongs = { GET: get, HEAD: { ...get, body: undefined } }
  }

  /** An answer at once where memory or an open file has it. Rejects or throws RegistryError, UpstreamError and others. */
  answer(request: RegistryRequest): Answer | Promise<Answer> {
    return this.tryCached(request) ?? this.#wait(request)
  }

  /**
   * An answer that needs no waiting. Undefined means: ask `answer`. `last` is an earlier answer to the same request; it is
   * returned itself where nothing about it has changed.
   */
  tryCached(request: RegistryRequest, last?: Answer): Answer | undefined {
    if (request.kind === 'ping') return this.#pongs[request.method]
    const { target } = request.route
    if (request.kind === 'manifest') {
      const served = this.#mirror.tryCached(target, request)
      return served && this.#manifest(request, served, last)
    }
    const served = this.#mirror.tryCached(target, request)
    return served && (last?.content === served.body ? last : blobAnswer(request, served))
  }

  async #wait(request: RegistryRequest): Promise<Answer> {
    if (request.kind === 'ping') return this.#pongs[request.method]
    const { target } = request.route
    if (request.kind === 'manifest') return this.#manifest(request, await this.#mirror.get(target, request))
    const served = await this.#mirror.get(target, request)
    await refuseUnframed(request, served)
    return blobAnswer(request, served)
  }

  #manifest({ method, route, ifNoneMatch }: ManifestRequest, served: ServedManifest, last?: Answer): Answer {
    const { manifest, outcome, tag } = served
    const now = this.#now()
    const age = tag && Math.max(0, Math.floor((now - tag.checkedAt) / 1000))
    if (last?.content === manifest && last.age === age && last.outcome === outcome) return last
    const { digest, mediaType, size } = manifest
    const etag = `"${digest}"`
    const isUnchanged = noneMatch(ifNoneMatch, etag)
    const headers = [
      ...namespaceHeader(route),
      ...(isUnchanged ? [] : ['Content-Type', mediaType]),
      'Docker-Content-Digest',
      digest,
      'ETag',
      etag,
      ...freshnessHeaders(served, now),
      ...(isUnchanged ? [] : ['Content-Length', `${size}`]),
    ]
    const isSent = method === 'GET' && !isUnchanged && 'body' in manifest
    return {
      status: isUnchanged ? 304 : 200,
      headers,
      body: isSent ? manifest.body : undefined,
      outcome,
      content: manifest,
      age,
    }
  }
}

/** `Age` and the like: content by digest never ages, and a tag does. `now` in epoch milliseconds. */
function freshnessHeaders({ outcome, tag, warning, passed = false }: ServedManifest, now: number): string[] {
  if (!tag) return ['Cache-Control', immutable, 'Cache-Status', cacheStatus(outcome, { passed, ttl: undefined })]
  const age = Math.max(0, Math.floor((now - tag.checkedAt) / 1000))
  const ttl = Math.floor((tag.checkedAt + tag.ttl - now) / 1000)
  const headers = ['Age', `${age}`, 'Cache-Control', 'no-cache', 'Cache-Status', cacheStatus(outcome, { passed, ttl })]
  if (warning !== undefined) return [...headers, 'Warning', warning]
  if (outcome !== 'stale') return headers
  const since = new Date(tag.checkedAt).toISOString()
  return [...headers, 'Warning', `299 - "stale: upstream unavailable since ${since}"`]
}

function blobAnswer({ digest, route, method, isUnchanged }: BlobRequest, served: ServedBlob): Answer {
  const { outcome, passed, size, range, body: content } = served
  const length = range ? lengthOf(range) : size
  const headers = [
    ...namespaceHeader(route),
    'Accept-Ranges',
    'bytes',
    'Cache-Control',
    immutable,
    'Cache-Status',
    cacheStatus(outcome, { passed, ttl: undefined }),
    ...(isUnchanged ? [] : ['Content-Type', octetStream]),
    'Docker-Content-Digest',
    digest,
    'ETag',
    `"${digest}"`,
  ]
  if (range && size !== undefined) headers.push('Content-Range', formatContentRange(range, size))
  if (!isUnchanged && length !== undefined) headers.push('Content-Length', `${length}`)
  return {
    status: isUnchanged ? 304 : range ? 206 : 200,
    headers,
    body: method === 'HEAD' || isUnchanged ? undefined : bodyOf(content, length),
    outcome,
    content,
    age: undefined,
  }
}

function bodyOf(content: ServedBlob['body'], length: number | undefined): Answer['body'] {
  return content === undefined || Buffer.isBuffer(content) ? content : { reader: content, length }
}

/** Without chunks the end of the connection would be the end of the body, and a cut would look clean. */
async function refuseUnframed({ hasChunks, route }: BlobRequest, { size, range, body }: ServedBlob): Promise<void> {
  if (hasChunks || size !== undefined || range) return
  if (body !== undefined && !Buffer.isBuffer(body)) await body.close()
  throw new UpstreamError(route.target.upstream, 'protocol', 'tells no length, and HTTP/1.0 cannot do without')
}
