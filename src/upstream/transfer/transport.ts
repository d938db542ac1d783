import type { Dispatcher } from 'undici'
import { UpstreamError } from '../../oci/error.ts'
import { ThreadDied } from '../../threads/thread.ts'
import { isStaleConnection, toUpstreamError } from '../failure.ts'
import { createDispatcher } from './dispatcher.ts'
import type { FetchPool } from './fetch-pool.ts'
import type { UpstreamLimits } from './limits.ts'
import type { Response } from './response.ts'
import type { ResponseBody } from './response-body.ts'
import { Reception, type ReceptionOptions } from './response-handler.ts'

export const userAgent = 'entrepot'

export type UpstreamRequestKind = 'manifest' | 'blob' | 'token' | 'ping'

export interface Request {
  readonly kind: UpstreamRequestKind
  readonly method: 'GET' | 'HEAD'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** Bytes from which on a body is worth a thread. */
const largeFrom = 1024 * 1024

export interface TransportOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly limits: UpstreamLimits
  /** Fetch what is large. */
  readonly threads?: FetchPool | undefined
  /** Epoch milliseconds. */
  readonly now: () => number
  /** `status` is undefined where no answer came; `seconds` until the headers. */
  readonly onRequest?: ((kind: UpstreamRequestKind, status: number | undefined, seconds: number) => void) | undefined
}

/** Below the registry API: requests as given, responses as they come; no redirect is followed, no status is a failure. */
export class Transport implements AsyncDisposable {
  readonly #options: TransportOptions
  readonly #dispatcher: Dispatcher
  readonly #closing = new AbortController()
  #requests = 0
  #errors = 0

  constructor(options: TransportOptions) {
    this.#options = options
    this.#dispatcher = createDispatcher(options.limits)
  }

  get requests(): number {
    return this.#requests
  }

  /** Requests without an answer, or with 429 or 5xx. */
  get errors(): number {
    return this.#errors
  }

  /** Returns when the headers are in. The body is the caller's to read, close or discard; the signal ends it too. */
  send(request: Request): Promise<Response> {
    return this.#send(request, () => this.#dispatch(request))
  }

  /** The same for a body that goes into a file, of `size` bytes as far as is known: a large one comes through a thread. */
  async download(request: Request, size: number | undefined): Promise<Response<ResponseBody>> {
    if (size !== undefined && size < largeFrom) return await this.send(request)
    try {
      return await this.#send(request, () => this.#fetch(request))
    } catch (error) {
      if (!(error instanceof ThreadDied)) throw error
      return await this.send(request)
    }
  }

  /** Breaks every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new UpstreamError(this.#options.upstream, 'unreachable', 'closed by us'))
    await this.#dispatcher.destroy()
  }

  /** Once more where a kept connection has turned out to be closed. */
  async #send<Content extends ResponseBody>(
    request: Request,
    dispatch: () => Promise<Response<Content>>,
  ): Promise<Response<Content>> {
    try {
      return await this.#attempt(request, dispatch)
    } catch (error) {
      const stale = error instanceof UpstreamError && isStaleConnection(error.cause)
      if (!stale || request.signal.aborted) throw error
      return await this.#attempt(request, dispatch)
    }
  }

  async #attempt<Content extends ResponseBody>(
    request: Request,
    dispatch: () => Promise<Response<Content>>,
  ): Promise<Response<Content>> {
    const { now, onRequest } = this.#options
    request.signal.throwIfAborted()
    const sentAt = now()
    this.#requests += 1
    let status: number | undefined
    try {
      const response = await dispatch()
      status = response.status
      return response
    } finally {
      const failed = status === undefined || status === 429 || status >= 500
      if (failed && !request.signal.aborted) this.#errors += 1
      onRequest?.(request.kind, status, (now() - sentAt) / 1000)
    }
  }

  #dispatch({ method, url, headers, signal }: Request): Promise<Response> {
    const { limits } = this.#options
    const reception = new Reception({ signal, limits, ...this.#errorsOf(`${method} ${url.host}`) })
    this.#dispatcher.dispatch(
      // undici closes the connection after HEAD unless told not to.
      { ...addressOf(url), method, headers, ...(method === 'HEAD' && keep) },
      reception,
    )
    return reception.response
  }

  /** By a thread, where one runs. */
  async #fetch(request: Request): Promise<Response<ResponseBody>> {
    const { threads, limits } = this.#options
    const { url, headers, signal } = request
    const { connect, headerBytes, headers: beforeHeaders, stall } = limits
    const fetched = await threads?.get({
      ...addressOf(url),
      headers,
      dispatcher: { connect, headerBytes },
      silence: { headers: beforeHeaders, body: stall },
      signal: AbortSignal.any([signal, this.#closing.signal]),
      ...this.#errorsOf(`GET ${url.host}`),
    })
    return fetched ?? (await this.#dispatch(request))
  }

  #errorsOf(doing: string): Pick<ReceptionOptions, 'silent' | 'failureOf'> {
    const { upstream } = this.#options
    return {
      silent: (milliseconds) =>
        new UpstreamError(upstream, 'timeout', `${doing}: no byte for ${milliseconds / 1000} s`),
      failureOf: (error, phase) => toUpstreamError(upstream, doing, error, phase),
    }
  }
}

function addressOf(url: URL): { origin: string; path: string } {
  return { origin: url.origin, path: `${url.pathname}${url.search}` }
}

const keep = { reset: false }
