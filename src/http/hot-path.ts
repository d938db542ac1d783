import type { IncomingMessage, ServerResponse } from 'node:http'
import type { StoredAnswer } from '../cache/blobs.ts'
import type { Mirror, ServedManifest } from '../cache/mirror.ts'
import type { Outcome } from '../cache/observer.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { blobHeaders } from './blobs.ts'
import { sendBody } from './body.ts'
import { cacheStatus } from './cache-status.ts'
import type { Exchange } from './exchange.ts'
import { manifestHeaders } from './manifests.ts'
import { ByResponse } from './outgoing.ts'
import { parseRoute, type Route, type Routing } from './route.ts'

export interface HotPathOptions {
  readonly mirror: Mirror
  readonly routing: Routing
  readonly now: () => number
}

export interface HotAnswer {
  readonly question: Question
  readonly recalled: Recalled
  /** Epoch milliseconds. */
  readonly now: number
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
}

type Named = Extract<Route, { target: unknown }>

/** What a request's target says, read once. */
export type Question =
  | { readonly kind: 'ping'; readonly route: Route }
  | { readonly kind: 'manifest'; readonly route: Named; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly route: Named; readonly digest: Digest }

/** What is at hand in answer to a question: a manifest, a stored blob, or the bytes of anything else. */
export type Recalled = ServedManifest | StoredAnswer | Buffer

/** Request targets are remembered up to this length and number; beyond, all are read anew. */
const longest = 512
const most = 8192

/** Bodies up to this many bytes go out as text, so that head and body are one write. */
const short = 16 * 1024

/** Headers of every answer. */
export const version = ['Docker-Distribution-API-Version', 'registry/2.0'] as const
export const pong = Buffer.from('{}')
const hit = cacheStatus('hit', { passed: false, ttl: undefined })

/**
 * Answers plain requests from memory, before the framework: a fleet asks for the same few manifests and configs tens of
 * thousands of times a second. What it does not answer takes the ordinary way, which gives the same answers.
 */
export class HotPath {
  readonly #options: HotPathOptions
  readonly #questions = new Map<string, Question>()

  constructor(options: HotPathOptions) {
    this.#options = options
  }

  /** Undefined where it is not for this path. */
  question({ method, url = '', headers }: IncomingMessage): Question | undefined {
    if (method !== 'GET' && method !== 'HEAD') return undefined
    if (headers['if-none-match'] !== undefined || headers.range !== undefined) return undefined
    return this.#questions.get(url) ?? this.#read(url)
  }

  /**
   * Undefined means no more than that it needs a look. What is recalled counts as answered, and as used; a stored blob has
   * to be closed.
   */
  recall(question: Question, method: string | undefined): Recalled | undefined {
    switch (question.kind) {
      case 'ping':
        return pong
      case 'manifest':
        return this.#options.mirror.recentManifest(question.route.target, question.reference)
      case 'blob':
        return this.#blob(question, method)
    }
  }

  #blob({ route, digest }: Extract<Question, { kind: 'blob' }>, method: string | undefined): Recalled | undefined {
    const { mirror } = this.#options
    const small = mirror.recentBlob(route.target, digest)
    return small || method === 'HEAD' ? small : mirror.storedBlob(route.target, digest)
  }

  #read(url: string): Question | undefined {
    if (url.length > longest) return undefined
    try {
      const question = questionOf(parseRoute(url, this.#options.routing))
      if (!question) return undefined
      if (this.#questions.size >= most) this.#questions.clear()
      this.#questions.set(url, question)
      return question
    } catch {
      // The ordinary way says what is wrong with it.
      return undefined
    }
  }
}

/** Of what was recalled. */
export function outcomeOf({ kind }: Question): Outcome | undefined {
  return kind === 'ping' ? undefined : 'hit'
}

/** Whether its body has to be read. */
export function isStored(recalled: Recalled): recalled is StoredAnswer {
  return !Buffer.isBuffer(recalled) && 'reader' in recalled
}

export function bodyOf(recalled: Exclude<Recalled, StoredAnswer>): Buffer {
  return Buffer.isBuffer(recalled) ? recalled : recalled.manifest.body
}

/** The headers of what was recalled, names and values in turn; `now` in epoch milliseconds. */
export function hotHeaders(question: Question, recalled: Recalled, now: number): string[] {
  const { route } = question
  const list = 'target' in route && route.namespace !== undefined ? ['OCI-Namespace', route.namespace] : []
  const own = ownHeaders(question, recalled, now)
  for (const name in own) list.push(name, own[name] as string)
  list.push('Content-Length', String(isStored(recalled) ? recalled.size : bodyOf(recalled).length))
  return list
}

/** Sends what was recalled. Rejects where a stored blob could not be sent whole, and then the connection is broken off. */
export function sendHot(
  request: IncomingMessage,
  response: ServerResponse,
  exchange: Exchange,
  { question, recalled, now, clientTimeout }: HotAnswer,
): Promise<void> | undefined {
  exchange.route = question.route
  const outcome = outcomeOf(question)
  if (outcome) exchange.outcome = outcome
  response.writeHead(200, [...version, 'X-Request-Id', exchange.id, ...hotHeaders(question, recalled, now)])
  exchange.headersSent()
  if (isStored(recalled)) return sendStored(response, exchange, recalled, clientTimeout)
  if (request.method === 'HEAD') {
    response.end()
    return undefined
  }
  const body = bodyOf(recalled)
  exchange.bytes = body.length
  if (body.length > short) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')
  return undefined
}

function sendStored(
  response: ServerResponse,
  exchange: Exchange,
  { reader, size: length }: StoredAnswer,
  patience: number,
): Promise<void> {
  const sent = (bytes: number): void => {
    exchange.bytes += bytes
  }
  return sendBody(new ByResponse(response), reader, { length, patience, sent })
}

function questionOf(route: Route): Question | undefined {
  if (route.kind === 'ping') return { kind: 'ping', route }
  if (route.kind === 'manifests') {
    const reference = parseReference(route.reference)
    return reference && { kind: 'manifest', route, reference }
  }
  const digest = route.kind === 'blobs' ? parseDigest(route.reference) : undefined
  return route.kind === 'blobs' && digest ? { kind: 'blob', route, digest } : undefined
}

function ownHeaders(question: Question, recalled: Recalled, now: number): Readonly<Record<string, string>> {
  if (!Buffer.isBuffer(recalled) && 'manifest' in recalled) return manifestHeaders(recalled, now)
  return question.kind === 'blob' ? blobHeaders(question.digest, hit) : pingHeaders
}

const pingHeaders = { 'Content-Type': 'application/json' }
