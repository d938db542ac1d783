import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Outcome } from '../cache/observer.ts'
import type { RequestFields } from '../telemetry/request-fields.ts'
import { ClientGone } from './body.ts'
import type { Route } from './route.ts'

/** Logged for a client that left before its answer had a status, as nginx does. */
const clientClosedRequest = 499

/** A stranger chooses the reference. Tags and digests are shorter. */
const longestReference = 256

export interface ExchangeOptions {
  readonly id: string
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly now: () => number
}

/** One request and its answer on node:http: filled in on the way, and logged once at the end. */
export class Exchange {
  readonly id: string
  readonly response: ServerResponse
  /** Resolves when the answer has been sent, or the client has left. */
  readonly closed: Promise<void>
  route: Route | undefined
  error: unknown
  /** Body bytes handed to the client's connection. */
  bytes = 0
  readonly #options: ExchangeOptions
  readonly #startedAt: number
  #outcome: Outcome | undefined
  #outcomeAt: number | undefined
  #headersAt: number | undefined
  #endedAt: number | undefined
  #answered = false

  constructor(options: ExchangeOptions) {
    const { id, response, now } = options
    this.id = id
    this.response = response
    this.#options = options
    this.#startedAt = now()
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        this.#endedAt = now()
        this.#answered = response.headersSent
        resolve()
      })
    })
  }

  /** Call it when the cache has answered. Until then, unless it is a hit, the request waited for the upstream. */
  cacheAnswered(outcome: Outcome): void {
    this.#outcome = outcome
    this.#outcomeAt = this.#options.now()
  }

  get method(): string {
    return this.#options.request.method ?? ''
  }

  get client(): { address: string; userAgent: string | undefined } {
    const { socket, headers } = this.#options.request
    return { address: socket.remoteAddress ?? '', userAgent: headers['user-agent'] }
  }

  /** Call it when the answer's head is written. */
  headersSent(): void {
    this.#headersAt ??= this.#options.now()
  }

  /** For the log, once it is closed. */
  fields(): RequestFields {
    const { request } = this.#options
    const { route, error, response } = this
    const cut = !response.writableFinished
    const aborted = error instanceof ClientGone || !this.#answered || (cut && error === undefined)
    return {
      requestId: this.id,
      method: this.method,
      ...routeFields(route, request.url),
      outcome: this.#outcome,
      status: this.#answered ? response.statusCode : clientClosedRequest,
      bytes: this.#answered ? this.bytes : 0,
      ...this.#spans(),
      upstreamMs: this.#upstreamMs(),
      range: request.headers.range,
      userAgent: request.headers['user-agent'],
      client: request.socket.remoteAddress ?? '',
      aborted: aborted || undefined,
      error: aborted ? undefined : error,
    }
  }

  #upstreamMs(): number | undefined {
    if (this.#outcomeAt === undefined || this.#outcome === 'hit') return undefined
    return this.#outcomeAt - this.#startedAt
  }

  /** Milliseconds from the request to the head of its answer, and to the end. */
  #spans(): { ms: number; headersMs: number } {
    const ms = (this.#endedAt ?? this.#options.now()) - this.#startedAt
    return { ms, headersMs: this.#headersAt === undefined ? ms : this.#headersAt - this.#startedAt }
  }
}

/** What a request names, or else its path. */
export function routeFields(
  route: Route | undefined,
  url: string | undefined,
): Pick<RequestFields, 'kind' | 'upstream' | 'repository' | 'reference' | 'path'> {
  const named = route && 'target' in route ? route : undefined
  return {
    kind: named?.kind === 'manifests' ? 'manifest' : named?.kind === 'blobs' ? 'blob' : 'other',
    upstream: named?.target.upstream,
    repository: named?.target.name,
    reference: named?.reference.slice(0, longestReference),
    path: named ? undefined : url,
  }
}
