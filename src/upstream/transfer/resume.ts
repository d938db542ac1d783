import { UpstreamError, type UpstreamErrorKind } from '../../oci/error.ts'
import type { BlobBody, Memory } from '../upstream.ts'
import { pause } from '../wait.ts'
import type { Body } from './body.ts'
import type { Limits } from './limits.ts'

/** One attempt at the bytes of a blob, headers read. Offsets count from the blob's start. */
export interface Piece {
  readonly body: Body
  /** Bytes at the body's start that nobody asked for. */
  readonly skip: number
  /** The last byte wanted; undefined where the upstream does not say where the blob ends. */
  readonly end: number | undefined
  /** Of the whole blob. */
  readonly size: number | undefined
  /** Whether the body may go on beyond `end`. */
  readonly tail: 'none' | 'unwanted'
  readonly withLogin: boolean
}

export interface ResumableOptions {
  readonly upstream: string
  readonly limits: Limits
  readonly start: number
  readonly piece: Piece
  /** Another attempt, from `start` on. */
  readonly reopen: (start: number, signal: AbortSignal) => Promise<Piece | undefined>
  /** Aborted by `close`, and when the reader's own signal is. */
  readonly signal: AbortSignal
  readonly close: () => void
}

/** The bytes of a blob over as many attempts as it takes. For one reader, that reads once. */
export class ResumableBody implements BlobBody, AsyncIterator<Buffer, undefined> {
  readonly #options: ResumableOptions
  #piece: Piece
  #memory: Memory | undefined
  #skip: number
  #offset: number
  #end: number | undefined
  #size: number | undefined
  #attempts = 0
  #closed = false

  constructor(options: ResumableOptions) {
    this.#options = options
    this.#piece = options.piece
    this.#skip = options.piece.skip
    this.#offset = options.start
    this.#end = options.piece.end
    this.#size = options.piece.size
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    return this
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    try {
      const chunk = this.#closed ? undefined : await this.#read()
      if (chunk) return { value: chunk, done: false }
    } catch (error) {
      if (!this.#closed) {
        this.#close()
        throw error
      }
    }
    this.#close()
    return { value: undefined, done: true }
  }

  async return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#close()
    return { value: undefined, done: true }
  }

  receiveInto(memory: Memory): void {
    this.#memory = memory
    this.#lend()
  }

  async *bypass(): AsyncGenerator<number, undefined> {
    const { body, tail } = this.#piece
    if (this.#closed || this.#skip > 0 || tail !== 'none') return undefined
    for await (const bytes of body.bypass()) {
      if (this.#end !== undefined && this.#offset + bytes > this.#end + 1) throw this.#tooLong()
      this.#offset += bytes
      if (bytes > 0) this.#attempts = 0
      yield bytes
    }
    return undefined
  }

  /** Of all that comes, the reader has to take all. */
  #lend(): void {
    const { body, skip, tail } = this.#piece
    if (this.#memory && skip === 0 && tail === 'none') body.receiveInto(this.#memory)
  }

  #close(): void {
    this.#closed = true
    this.#options.close()
  }

  /** The next bytes; undefined at the end of what was asked for. */
  async #read(): Promise<Buffer | undefined> {
    for (;;) {
      this.#options.signal.throwIfAborted()
      if (this.#isComplete && this.#piece.tail === 'unwanted') return undefined
      const received = await this.#receive()
      if (Buffer.isBuffer(received)) {
        const wanted = this.#take(received)
        if (wanted.length > 0) return wanted
      } else if (this.#isComplete || (received === 'end' && !this.#isMeasured)) {
        return undefined
      } else {
        await this.#resume(received === 'end' ? this.#error('unreachable', 'body ended early') : received.failure)
      }
    }
  }

  get #isComplete(): boolean {
    return this.#end !== undefined && this.#offset > this.#end
  }

  /** Whether it is known where the body has to end. */
  get #isMeasured(): boolean {
    return this.#size !== undefined || (this.#end !== undefined && this.#piece.tail === 'none')
  }

  async #receive(): Promise<Buffer | 'end' | { failure: unknown }> {
    try {
      return (await this.#piece.body.read()) ?? 'end'
    } catch (failure) {
      this.#options.signal.throwIfAborted()
      return { failure }
    }
  }

  #take(chunk: Buffer): Buffer {
    const skipped = Math.min(this.#skip, chunk.length)
    const room = this.#end === undefined ? chunk.length : this.#end + 1 - this.#offset
    if (chunk.length - skipped > room && this.#piece.tail === 'none') {
      throw this.#tooLong()
    }
    const wanted = chunk.subarray(skipped, skipped + room)
    this.#skip -= skipped
    this.#offset += wanted.length
    if (wanted.length > 0) this.#attempts = 0
    return wanted
  }

  async #resume(failure: unknown): Promise<void> {
    const { limits, reopen, signal } = this.#options
    for (let last = failure; ; ) {
      this.#piece.body.close()
      this.#attempts += 1
      if (this.#attempts > limits.resumeAttempts) throw this.#exhausted(last)
      await pause(this.#delay(last), signal)
      try {
        const piece = await reopen(this.#offset, signal)
        if (piece) return this.#goOn(piece)
        last = this.#error('unavailable', 'blob no longer to be had')
      } catch (error) {
        signal.throwIfAborted()
        const final = error instanceof UpstreamError && (error.kind === 'protocol' || error.kind === 'denied')
        if (final || !(error instanceof UpstreamError)) throw error
        last = error
      }
    }
  }

  #goOn(piece: Piece): void {
    if (this.#size !== undefined && piece.size !== undefined && piece.size !== this.#size) {
      throw this.#error('protocol', `blob of ${this.#size} bytes has become one of ${piece.size}`)
    }
    this.#piece = piece
    this.#skip = piece.skip
    this.#size ??= piece.size
    this.#end ??= piece.end
    this.#memory?.restart()
    this.#lend()
  }

  /** Milliseconds. */
  #delay(failure: unknown): number {
    const { resumeDelay, resumeDelayMax, resumeRetryAfterMax } = this.#options.limits
    const asked = failure instanceof UpstreamError ? (failure.retryAfter ?? 0) * 1000 : 0
    const usual = Math.min(resumeDelay * 2 ** (this.#attempts - 1), resumeDelayMax)
    return Math.max(usual, Math.min(asked, resumeRetryAfterMax))
  }

  #exhausted(cause: unknown): UpstreamError {
    const { kind, status, retryAfter } = cause instanceof UpstreamError ? cause : this.#error('unreachable', 'unknown')
    const message = `body broke off at byte ${this.#offset}, and could not be resumed`
    return new UpstreamError(this.#options.upstream, kind, message, {
      cause,
      ...(status !== undefined && { status }),
      ...(retryAfter !== undefined && { retryAfter }),
    })
  }

  #tooLong(): UpstreamError {
    return this.#error('protocol', 'body longer than announced')
  }

  #error(kind: UpstreamErrorKind, message: string): UpstreamError {
    return new UpstreamError(this.#options.upstream, kind, message)
  }
}
