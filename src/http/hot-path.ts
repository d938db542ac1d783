import type { IncomingMessage, ServerResponse } from 'node:http'
import type { StoredAnswer } from '../cache/blobs.ts'
import type { Mirror, ServedManifest } from '../cache/mirror.ts'
import type { Outcome } from '../cache/observer.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { formatContentRange, parseRange, type SingleRange } from '../oci/range.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { blobHeaders } from './blobs.ts'
import { sendBody } from './body.ts'
import { cacheStatus } from './cache-status.ts'
import type { Exchange } from './exchange.ts'
import { manifestHeaders } from './manifests.ts'
import { ByResponse } from './response-writer.ts'
import { parseRoute, type Route, type Routing } from './route.ts'

export interface HotPathOptions {
  readonly mirror: Mirror
  readonly routing: Routing
  readonly now: () => number
}

export interface OpenedAnswer {
  readonly question: Question
  readonly stored: StoredAnswer
  /** Epoch milliseconds. */
  readonly now: number
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
}

type Named = Extract<Route, { target: unknown }>

/** What a request's target says, read once; of a blob, also which part of it is wanted. */
export type Question =
  | { readonly kind: 'ping'; readonly route: Route }
  | { readonly kind: 'manifest'; readonly route: Named; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly route: Named; readonly digest: Digest; readonly range?: SingleRange }

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
    if (headers['if-none-match'] !== undefined) return undefined
    const question = this.#questions.get(url) ?? this.#read(url)
    return headers.range === undefined ? question : partOf(question, headers)
  }

  /** Undefined means no more than that it needs a look. What is recalled counts as answered, and as used. */
  recall(question: Question): Recalled | undefined {
    switch (question.kind) {
      case 'ping':
        return pong
      case 'manifest':
        return this.#options.mirror.recentManifest(question.route.target, question.reference)
      case 'blob':
        if (question.range) return undefined
        return this.#options.mirror.recentBlob(question.route.target, question.digest)
    }
  }

  /** A stored blob that `recall` does not hold; to a HEAD nothing has to be opened. Undefined means the same as there. */
  open(question: Question, method: string | undefined): StoredAnswer | undefined {
    if (question.kind !== 'blob' || method !== 'GET') return undefined
    return this.#options.mirror.storedBlob(question.route.target, question.digest, question.range)
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

/** 206 where a range was asked for (RFC 9110 §15.3.7). */
export function statusOf({ range }: StoredAnswer): 200 | 206 {
  return range ? 206 : 200
}

export function bodyOf(recalled: Recalled): Buffer {
  return Buffer.isBuffer(recalled) ? recalled : recalled.manifest.body
}

/** The headers of what was recalled or opened, names and values in turn; `now` in epoch milliseconds. */
export function hotHeaders(question: Question, answer: Recalled | StoredAnswer, now: number): string[] {
  const { route } = question
  const list = 'target' in route && route.namespace !== undefined ? ['OCI-Namespace', route.namespace] : []
  const own = ownHeaders(question, answer, now)
  for (const name in own) list.push(name, own[name] as string)
  if ('reader' in answer && answer.range) list.push('Content-Range', formatContentRange(answer.range, answer.size))
  list.push('Content-Length', String('reader' in answer ? answer.length : bodyOf(answer).length))
  return list
}

/** Sends what was recalled. */
export function sendHot(
  { method }: IncomingMessage,
  response: ServerResponse,
  exchange: Exchange,
  { question, recalled, now }: { question: Question; recalled: Recalled; now: number },
): void {
  begin(response, exchange, question, { status: 200, headers: hotHeaders(question, recalled, now) })
  if (method === 'HEAD') {
    response.end()
    return
  }
  const body = bodyOf(recalled)
  exchange.bytes = body.length
  if (body.length > short) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')
}

/** Sends what was opened, and closes it. Rejects where that could not be sent whole, and then the connection is broken off. */
export async function sendStored(
  response: ServerResponse,
  exchange: Exchange,
  { question, stored, now, clientTimeout }: OpenedAnswer,
): Promise<void> {
  begin(response, exchange, question, { status: statusOf(stored), headers: hotHeaders(question, stored, now) })
  const { reader, length } = stored
  await sendBody(new ByResponse(response), reader, { length, patience: clientTimeout, tally: exchange })
}

function begin(
  response: ServerResponse,
  exchange: Exchange,
  question: Question,
  { status, headers }: { status: number; headers: readonly string[] },
): void {
  exchange.route = question.route
  const outcome = outcomeOf(question)
  if (outcome) exchange.outcome = outcome
  response.writeHead(status, [...version, 'X-Request-Id', exchange.id, ...headers])
  exchange.headersSent()
}

/** Undefined where the ordinary way has something to say to it: it ignores some ranges, and refuses others. */
function partOf(question: Question | undefined, headers: IncomingMessage['headers']): Question | undefined {
  if (question?.kind !== 'blob' || headers['if-range'] !== undefined) return undefined
  const range = parseRange(headers.range)
  return range && range.kind !== 'multiple' ? { ...question, range } : undefined
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

function ownHeaders(
  question: Question,
  answer: Recalled | StoredAnswer,
  now: number,
): Readonly<Record<string, string>> {
  if ('manifest' in answer) return manifestHeaders(answer, now)
  return question.kind === 'blob' ? blobHeaders(question.digest, hit) : pingHeaders
}

const pingHeaders = { 'Content-Type': 'application/json' }
