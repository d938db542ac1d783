import { Agent } from 'undici'
import { UpstreamError } from '../../oci/error.ts'
import { isStaleConnection, toUpstreamError } from '../failure.ts'
import { Connector } from './connector.ts'
import type { Limits } from './limits.ts'
import type { Response } from './response.ts'
import { Reception } from './response-handler.ts'

export const userAgent = 'entrepot'

export type RequestKind = 'manifest' | 'blob' | 'token' | 'ping'

export interface Request {
  readonly kind: RequestKind
  readonly method: 'GET' | 'HEAD'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

export interface TransportOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly limits: Limits
  /** Epoch milliseconds. */
  readonly now: () => number
  /** `status` is undefined where no answer came; `seconds` until the headers. */
  readonly onRequest?: ((kind: RequestKind, status: number | undefined, seconds: number) => void) | undefined
}

/** Below the registry API: requests as given, responses as they come; no redirect is followed, no status is a failure. */
export class Transport implements AsyncDisposable {
  readonly #options: TransportOptions
  readonly #connector: Connector
  readonly #agent: Agent
  #requests = 0
  #errors = 0

  constructor(options: TransportOptions) {
    const { limits } = options
    this.#options = options
    this.#connector = new Connector(limits.connect)
    this.#agent = new Agent({
      // One connection for each body: over HTTP/2 one slow reader's window would hold up the others.
      allowH2: false,
      // The connections are made for the one that takes what it is given by `read`.
      useMilo: false,
      connect: this.#connector.connect,
      // Ours are exact, and a body's time runs only while somebody waits for it.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: limits.headerBytes,
      keepAliveTimeout: 20_000,
    })
  }

  get requests(): number {
    return this.#requests
  }

  /** Requests without an answer, or with 429 or 5xx. */
  get errors(): number {
    return this.#errors
  }

  /** Returns when the headers are in. The body is the caller's to read, close or discard; the signal ends it too. */
  async send(request: Request): Promise<Response> {
    try {
      return await this.#attempt(request)
    } catch (error) {
      const stale = error instanceof UpstreamError && isStaleConnection(error.cause)
      if (!stale || request.signal.aborted) throw error
      return await this.#attempt(request)
    }
  }

  /** Breaks every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy()
  }

  async #attempt(request: Request): Promise<Response> {
    const { now, onRequest } = this.#options
    request.signal.throwIfAborted()
    const sentAt = now()
    this.#requests += 1
    let status: number | undefined
    try {
      const response = await this.#dispatch(request)
      status = response.status
      return response
    } finally {
      const failed = status === undefined || status === 429 || status >= 500
      if (failed && !request.signal.aborted) this.#errors += 1
      onRequest?.(request.kind, status, (now() - sentAt) / 1000)
    }
  }

  #dispatch({ method, url, headers, signal }: Request): Promise<Response> {
    const { upstream, limits } = this.#options
    const doing = `${method} ${url.host}`
    const reception = new Reception({
      signal,
      connector: this.#connector,
      limits,
      silence: (milliseconds) =>
        new UpstreamError(upstream, 'timeout', `${doing}: no byte for ${milliseconds / 1000} s`),
      failureOf: (error) => toUpstreamError(upstream, doing, error),
    })
    this.#agent.dispatch(
      // undici closes the connection after HEAD unless told not to.
      { origin: url.origin, path: `${url.pathname}${url.search}`, method, headers, ...(method === 'HEAD' && keep) },
      reception,
    )
    return reception.response
  }
}

const keep = { reset: false }
