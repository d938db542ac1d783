import type { ThreadDied } from '../../threads/thread.ts'
import type { Phase } from '../failure.ts'
import type { BodyFile } from '../upstream.ts'
import type { FetchAnswer, FetchFailure, FetchThread } from './fetch-messages.ts'
import type { Response } from './response.ts'
import { type BodyPart, BodyTooLong, type ResponseBody } from './response-body.ts'

export interface FetchedBodyOptions {
  readonly thread: FetchThread
  readonly id: number
  readonly signal: AbortSignal
  /** Makes of undici's error what the reader gets; of any, the signal's reason once that is aborted. */
  readonly failureOf: (error: unknown, phase: Phase) => unknown
}

/**
 * One request in a fetch thread, seen from the event loop.
 *
 *     state    | message              | next
 *     asked    | head from the thread | open: the response is there, its body waits
 *     open     | into to the thread   | flowing
 *     flowing  | written              | flowing
 *     flowing  | refused              | refused: the thread keeps what it could not write
 *     refused  | retry to the thread  | flowing
 *     any      | stop to the thread   | an end comes
 *     any      | end, or it dies      | ended: nobody writes to the file any more
 */
export class FetchedBody implements ResponseBody {
  readonly #options: FetchedBodyOptions
  readonly #response = Promise.withResolvers<Response<FetchedBody>>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #onAbort = (): void => this.#aborted()
  #phase: Phase = 'head'
  #isBlob = false
  /** Bytes in the file that were not yielded. */
  #written = 0
  #refusal: Error | undefined
  #end: 'open' | 'whole' | { readonly failure: unknown } = 'open'
  #changed: (() => void) | undefined

  constructor(options: FetchedBodyOptions) {
    this.#options = options
    const { thread, id, signal } = options
    thread.listen(id, {
      answered: (answer) => this.#hear(answer),
      died: (error: ThreadDied) => this.#over({ failure: error }),
    })
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Rejects with what `failureOf` makes of it, or ThreadDied. */
  get response(): Promise<Response<FetchedBody>> {
    return this.#response.promise
  }

  async *into(file: BodyFile, part: BodyPart): AsyncGenerator<number, undefined> {
    const { thread, id } = this.#options
    thread.post({ kind: 'into', id, descriptor: file.descriptor, offset: file.offset, ...part })
    try {
      for (;;) {
        const refusal = this.#refusal
        if (this.#written > 0) yield this.#take()
        else if (refusal) {
          this.#refusal = undefined
          await file.refused(refusal)
          thread.post({ kind: 'retry', id })
        } else if (this.#end === 'open') await this.#change()
        else if (this.#end === 'whole') return
        else throw this.#end.failure
      }
    } finally {
      this.close()
      await this.#ended.promise
    }
  }

  close(): void {
    const { thread, id } = this.#options
    if (this.#end === 'open') thread.post({ kind: 'stop', id })
  }

  /** What is no blob's the thread discards by itself. */
  discard(): void {
    if (this.#isBlob) this.close()
  }

  #hear(answer: FetchAnswer): void {
    const { kind } = answer
    if (kind === 'head') {
      this.#phase = 'body'
      this.#isBlob = answer.status === 200 || answer.status === 206
      this.#response.resolve({ status: answer.status, headers: answer.headers, body: this })
    } else if (kind === 'written') this.#written += answer.bytes
    else if (kind === 'refused') this.#refusal = errorOf(answer.error)
    else this.#over(answer.reason === 'whole' ? 'whole' : { failure: this.#failureOf(answer) })
    this.#wake()
  }

  #failureOf(answer: FetchAnswer & { kind: 'end' }): unknown {
    const { signal, failureOf } = this.#options
    if (answer.reason === 'too long' && !signal.aborted) return new BodyTooLong()
    const error = answer.reason === 'failed' ? errorOf(answer.error) : new Error(answer.reason)
    return failureOf(error, this.#phase)
  }

  #over(end: 'whole' | { readonly failure: unknown }): void {
    const { thread, id, signal } = this.#options
    thread.forget(id)
    signal.removeEventListener('abort', this.#onAbort)
    this.#end = end
    if (end !== 'whole') this.#response.reject(end.failure)
    this.#ended.resolve()
    this.#wake()
  }

  /** Whoever waits for headers need not wait for the thread. */
  #aborted(): void {
    this.close()
    this.#response.reject(this.#options.signal.reason)
  }

  #take(): number {
    const written = this.#written
    this.#written = 0
    return written
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve
    })
  }

  #wake(): void {
    this.#changed?.()
    this.#changed = undefined
  }
}

function errorOf({ name, message, code, bytesRead }: FetchFailure): Error {
  return Object.assign(new Error(message), { name, ...(code !== undefined && { code }), socket: { bytesRead } })
}
