import type { Dispatcher } from 'undici'
import type { UpstreamError } from '../../oci/error.ts'
import type { Phase } from '../failure.ts'
import { Body, type BodyConnection } from './body.ts'
import type { UpstreamLimits } from './limits.ts'
import type { Headers, Response } from './response.ts'

export interface ReceptionOptions {
  readonly signal: AbortSignal
  readonly limits: Pick<UpstreamLimits, 'headers' | 'stall'>
  readonly silent: (milliseconds: number) => UpstreamError
  readonly failureOf: (error: unknown, phase: Phase) => UpstreamError
}

/** One request on its way through undici: the response once its headers are in, and then its body. */
export class Reception implements Dispatcher.DispatchHandler, BodyConnection {
  readonly #options: ReceptionOptions
  readonly #response = Promise.withResolvers<Response>()
  readonly #onAbort = () => this.abort(new Error('aborted'))
  #controller: Dispatcher.DispatchController | undefined
  #body: Body | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: ReceptionOptions) {
    this.#options = options
    options.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  get response(): Promise<Response> {
    return this.#response.promise
  }

  pause(): void {
    this.#controller?.pause()
  }

  resume(): void {
    this.#controller?.resume()
  }

  abort(error: Error): void {
    // Without a controller the connection is still being made: the caller goes now, the request when it is there.
    if (this.#controller) this.#controller.abort(error)
    else this.#fail(error)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    const { signal, limits, silent } = this.#options
    if (signal.aborted) controller.abort(new Error('aborted'))
    else this.#timer = setTimeout(() => this.abort(silent(limits.headers)), limits.headers)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200) return
    clearTimeout(this.#timer)
    const { limits, silent } = this.#options
    this.#body = new Body({ source: this, stall: limits.stall, stalled: () => silent(limits.stall) })
    this.#response.resolve({ status, headers, body: this.#body })
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.push(chunk)
  }

  onResponseEnd(): void {
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    this.#body?.complete()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error)
  }

  #fail(error: Error): void {
    const { signal, failureOf } = this.#options
    clearTimeout(this.#timer)
    signal.removeEventListener('abort', this.#onAbort)
    const failure: unknown = signal.aborted ? signal.reason : failureOf(error, this.#body ? 'body' : 'head')
    if (this.#body) this.#body.fail(failure)
    else this.#response.reject(failure)
  }
}
