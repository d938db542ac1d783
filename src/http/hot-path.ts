import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Mirror, ServedManifest } from '../cache/mirror.ts'
import type { Outcome } from '../cache/observer.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { blobHeaders } from './blobs.ts'
import { cacheStatus } from './cache-status.ts'
import type { Exchange } from './exchange.ts'
import { manifestHeaders } from './manifests.ts'
import { parseRoute, type Route, type Routing } from './route.ts'

export interface HotPathOptions {
  readonly mirror: Mirror
  readonly routing: Routing
  readonly now: () => number
}

type Named = Extract<Route, { target: unknown }>

/** What a request's target says, read once. */
export type Question =
  | { readonly kind: 'ping'; readonly route: Route }
  | { readonly kind: 'manifest'; readonly route: Named; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly route: Named; readonly digest: Digest }

/** What memory holds in answer to a question: a manifest, or the bytes of anything else. */
export type Recalled = ServedManifest | Buffer

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

  /** Undefined means no more than that it needs a look. What is recalled counts as answered, and as used. */
  recall(question: Question): Recalled | undefined {
    switch (question.kind) {
      case 'ping':
        return pong
      case 'manifest':
        return this.#options.mirror.recentManifest(question.route.target, question.reference)
      case 'blob':
        return this.#options.mirror.recentBlob(question.route.target, question.digest)
    }
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

export function bodyOf(recalled: Recalled): Buffer {
  return Buffer.isBuffer(recalled) ? recalled : recalled.manifest.body
}

/** The headers of what was recalled, names and values in turn; `now` in epoch milliseconds. */
export function hotHeaders(question: Question, recalled: Recalled, now: number): string[] {
  const { route } = question
  const list = 'target' in route && route.namespace !== undefined ? ['OCI-Namespace', route.namespace] : []
  const own = ownHeaders(question, recalled, now)
  for (const name in own) list.push(name, own[name] as string)
  list.push('Content-Length', String(bodyOf(recalled).length))
  return list
}

/** Sends what was recalled. */
export function sendHot(
  { method }: IncomingMessage,
  response: ServerResponse,
  exchange: Exchange,
  { question, recalled, now }: { question: Question; recalled: Recalled; now: number },
): void {
  exchange.route = question.route
  const outcome = outcomeOf(question)
  if (outcome) exchange.outcome = outcome
  response.writeHead(200, [...version, 'X-Request-Id', exchange.id, ...hotHeaders(question, recalled, now)])
  exchange.headersSent()
  if (method === 'HEAD') {
    response.end()
    return
  }
  const body = bodyOf(recalled)
  exchange.bytes = body.length
  if (body.length > short) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')
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
  if (!Buffer.isBuffer(recalled)) return manifestHeaders(recalled, now)
  return question.kind === 'blob' ? blobHeaders(question.digest, hit) : pingHeaders
}

const pingHeaders = { 'Content-Type': 'application/json' }
