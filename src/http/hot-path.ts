import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Mirror } from '../cache/mirror.ts'
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
type Question =
  | { readonly kind: 'manifest'; readonly route: Named; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly route: Named; readonly digest: Digest }

interface Answer {
  /** Names and values in turn. */
  readonly headers: readonly string[]
  readonly body: Buffer
}

/** Request targets are remembered up to this length and number; beyond, all are read anew. */
const longest = 512
const most = 8192

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

  /** Undefined, and nothing sent, where it is not for this path. */
  answer(request: IncomingMessage): { answer: Answer; route: Route } | undefined {
    const { method, url = '', headers } = request
    if (method !== 'GET' && method !== 'HEAD') return undefined
    if (headers['if-none-match'] !== undefined || headers.range !== undefined) return undefined
    const question = this.#questions.get(url) ?? this.#read(url)
    if (!question) return undefined
    const { route } = question
    const answer =
      question.kind === 'manifest' ? this.#manifest(route, question.reference) : this.#blob(route, question.digest)
    return answer && { answer, route }
  }

  #manifest({ target }: Named, reference: Reference): Answer | undefined {
    const served = this.#options.mirror.recentManifest(target, reference)
    return served && { headers: flat(manifestHeaders(served, this.#options.now())), body: served.manifest.body }
  }

  #blob({ target }: Named, digest: Digest): Answer | undefined {
    const body = this.#options.mirror.recentBlob(target, digest)
    const status = cacheStatus('hit', { passed: false, ttl: undefined })
    return body && { headers: flat(blobHeaders(digest, status)), body }
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

/** Sends what the hot path answered; `always` are the headers of every answer. */
export function sendHot(
  { method }: IncomingMessage,
  response: ServerResponse,
  exchange: Exchange,
  { answer: { headers, body }, route }: { answer: Answer; route: Route },
  always: readonly string[],
): void {
  exchange.route = route
  exchange.outcome = 'hit'
  const namespace = 'target' in route && route.namespace !== undefined ? ['OCI-Namespace', route.namespace] : []
  response.writeHead(200, [...always, ...namespace, ...headers, 'Content-Length', String(body.length)])
  exchange.headersSent()
  if (method === 'HEAD') {
    response.end()
    return
  }
  exchange.bytes = body.length
  response.end(body)
}

function questionOf(route: Route): Question | undefined {
  if (route.kind === 'manifests') {
    const reference = parseReference(route.reference)
    return reference && { kind: 'manifest', route, reference }
  }
  const digest = route.kind === 'blobs' ? parseDigest(route.reference) : undefined
  return route.kind === 'blobs' && digest ? { kind: 'blob', route, digest } : undefined
}

function flat(headers: Readonly<Record<string, string>>): string[] {
  const list: string[] = []
  for (const name in headers) list.push(name, headers[name] as string)
  return list
}
