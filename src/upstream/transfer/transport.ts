import type { Dispatcher } from 'undici'
import { UpstreamError } from '../../oci/error.ts'
import { withTimeLimit } from '../../oci/time-limit.ts'
import { ThreadDied } from '../../threads/thread.ts'
import { isStaleConnection, type Phase, toUpstreamError } from '../failure.ts'
import { Body } from './body.ts'
import { createDispatcher } from './dispatcher.ts'
import type { FetchPool } from './fetch-pool.ts'
import type { UpstreamLimits } from './limits.ts'
import type { Response } from './response.ts'
import type { ResponseBody } from './response-body.ts'

export const userAgent = 'entrepot'

export interface Request {
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
    { signal }: Request,
    dispatch: () => Promise<Response<Content>>,
  ): Promise<Response<Content>> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted()
      this.#requests += 1
      try {
        const response = await dispatch()
        if (response.status === 429 || response.status >= 500) this.#errors += 1
        return response
      } catch (error) {
        if (signal.aborted) throw error
        this.#errors += 1
        const isStale = error instanceof UpstreamError && isStaleConnection(error.cause)
        if (!isStale || attempt === 2) throw error
      }
    }
  }

  async #dispatch({ method, url, headers, signal }: Request): Promise<Response> {
    const failureOf = this.#failures(`${method} ${url.host}`, signal)
    // undici closes the connection after HEAD unless told not to.
    const request = { ...addressOf(url), method, headers, signal, ...(method === 'HEAD' && { reset: false }) }
    try {
      // undici hears of an abort when the connection is made, and the caller at once.
      const answer = await withTimeLimit({ signal }, () => this.#dispatcher.request(request))
      const body = new Body(answer.body, (error) => failureOf(error, 'body'))
      return { status: answer.statusCode, headers: answer.headers, body }
    } catch (error) {
      throw failureOf(error, 'head')
    }
  }

  /** By a thread, where one runs. */
  async #fetch(request: Request): Promise<Response<ResponseBody>> {
    const { threads, limits } = this.#options
    const { connect, headerBytes, headers, stall } = limits
    const signal = AbortSignal.any([request.signal, this.#closing.signal])
    const fetched = await threads?.get({
      ...addressOf(request.url),
      headers: request.headers,
      dispatcher: { connect, headerBytes, headers, stall },
      signal,
      failureOf: this.#failures(`GET ${request.url.host}`, signal),
    })
    return fetched ?? (await this.#dispatch(request))
  }

  /** What the failures of a request are to its caller. */
  #failures(doing: string, signal: AbortSignal): (error: unknown, phase: Phase) => unknown {
    const { upstream, limits } = this.#options
    const silences = new Map([
      ['UND_ERR_HEADERS_TIMEOUT', limits.headers],
      ['UND_ERR_BODY_TIMEOUT', limits.stall],
    ])
    return (error, phase) => {
      if (signal.aborted) return signal.reason
      const silence = silences.get((error as { code?: string }).code ?? '')
      if (silence === undefined) return toUpstreamError(upstream, doing, error, phase)
      return new UpstreamError(upstream, 'timeout', `${doing}: no byte for ${silence / 1000} s`)
    }
  }
}

function addressOf(url: URL): { origin: string; path: string } {
  return { origin: url.origin, path: `${url.pathname}${url.search}` }
}
