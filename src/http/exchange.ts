import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Outcome } from '../cache/observer.ts'
import type { RequestFields } from '../telemetry/request-fields.ts'
import { ClientGone } from './body.ts'
import type { Route } from './route.ts'

/** No status that anybody saw: how a client is logged that left before there was one (nginx's word for it). */
const clientClosedRequest = 499

/** A stranger chooses it; tags and digests are shorter. */
const longestReference = 256

export interface ExchangeOptions {
  readonly id: string
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly now: () => number
}

/** One request and what became of it: filled in on the way, told once at the end. */
export class Exchange {
  readonly id: string
  /** Resolves when the answer has left, or the client has. */
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

  get outcome(): Outcome | undefined {
    return this.#outcome
  }

  /** Set at the moment the cache has answered: what went before, unless it was a hit, was waiting for the upstream. */
  set outcome(outcome: Outcome | undefined) {
    this.#outcome = outcome
    this.#outcomeAt = this.#options.now()
  }

  /** The value of a request header; a repeated one as the list it stands for. */
  header(name: 'if-none-match' | 'if-range' | 'range' | 'user-agent'): string | undefined {
    const value = this.#options.request.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Who asks. */
  get client(): { address: string; userAgent: string | undefined } {
    return { address: this.#options.request.socket.remoteAddress ?? '', userAgent: this.header('user-agent') }
  }

  /** The answer's headers leave now. */
  headersSent(): void {
    this.#headersAt ??= this.#options.now()
  }

  /** For the log, once it is closed. */
  fields(): RequestFields {
    const { request, response } = this.#options
    const { route, error } = this
    const cut = !response.writableFinished
    const aborted = error instanceof ClientGone || !this.#answered || (cut && error === undefined)
    return {
      requestId: this.id,
      method: request.method ?? '',
      ...routeFields(route, request.url),
      outcome: this.outcome,
      status: this.#answered ? response.statusCode : clientClosedRequest,
      bytes: this.#answered ? this.bytes : 0,
      ...this.#spans(),
      upstreamMs: this.#upstreamMs(),
      range: this.header('range'),
      userAgent: this.header('user-agent'),
      client: request.socket.remoteAddress ?? '',
      aborted: aborted || undefined,
      error: aborted ? undefined : error,
    }
  }

  #upstreamMs(): number | undefined {
    if (this.#outcomeAt === undefined || this.#outcome === 'hit') return undefined
    return this.#outcomeAt - this.#startedAt
  }

  /** Milliseconds since the request came, until its headers left and until its end. */
  #spans(): { ms: number; headersMs: number } {
    const ms = (this.#endedAt ?? this.#options.now()) - this.#startedAt
    return { ms, headersMs: this.#headersAt === undefined ? ms : this.#headersAt - this.#startedAt }
  }
}

/** What a request was for, or else its path. */
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
