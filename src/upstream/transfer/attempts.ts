import { UpstreamError, type UpstreamErrorKind } from '../../oci/error.ts'
import { ThreadDied } from '../../threads/thread.ts'
import { pause } from '../pause.ts'
import type { BodyFile } from '../upstream.ts'
import type { Body } from './body.ts'
import type { UpstreamLimits } from './limits.ts'
import { BodyTooLong, type ResponseBody } from './response-body.ts'

/** One attempt at the bytes of a blob, headers read. Offsets count from the blob's start. */
export interface Attempt<Content extends ResponseBody = Body> {
  readonly body: Content
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

export interface AttemptsOptions<Content extends ResponseBody> {
  readonly upstream: string
  readonly limits: UpstreamLimits
  readonly start: number
  readonly first: Attempt<Content>
  /** Another attempt, from `start` on. */
  readonly reopen: (start: number, signal: AbortSignal) => Promise<Attempt<Content> | undefined>
  /** Aborted by `close`, and when the reader's own signal is. */
  readonly signal: AbortSignal
  readonly close: () => void
}

/** The attempts at one blob: how far they have come, and the next one where one has failed. */
export class Attempts<Content extends ResponseBody> {
  readonly #options: AttemptsOptions<Content>
  #current: Attempt<Content>
  #offset: number
  #end: number | undefined
  #size: number | undefined
  /** In a row, without one byte more. */
  #failures = 0

  constructor(options: AttemptsOptions<Content>) {
    this.#options = options
    this.#current = options.first
    this.#offset = options.start
    this.#end = options.first.end
    this.#size = options.first.size
  }

  get current(): Attempt<Content> {
    return this.#current
  }

  /** The bytes, in chunks that are valid until the next is asked for. They are read once: so, or `into` a file. */
  chunks(this: Attempts<Body>): AsyncGenerator<Buffer, undefined> {
    return this.#receive(
      ({ body, skip, tail }, most) => body.chunks({ skip, most, tail }),
      (chunk) => chunk.length,
    )
  }

  /** Writes them into a file, and yields how many bytes more it has. */
  into(file: BodyFile): AsyncGenerator<number, undefined> {
    const { start } = this.#options
    return this.#receive(
      ({ body, skip }, most) => body.into({ ...file, offset: file.offset + this.#offset - start }, { skip, most }),
      (bytes) => bytes,
    )
  }

  close(): void {
    this.#options.close()
  }

  /** What `from` gives of one attempt, and then of the next ones. */
  async *#receive<Piece>(
    from: (attempt: Attempt<Content>, most: number | undefined) => AsyncIterable<Piece>,
    sizeOf: (piece: Piece) => number,
  ): AsyncGenerator<Piece, undefined> {
    const { signal } = this.#options
    try {
      for (;;) {
        signal.throwIfAborted()
        let failure: unknown
        try {
          const most = this.#end === undefined ? undefined : this.#end + 1 - this.#offset
          for await (const piece of from(this.#current, most)) {
            this.#offset += sizeOf(piece)
            this.#failures = 0
            yield piece
          }
        } catch (error) {
          signal.throwIfAborted()
          if (error instanceof BodyTooLong) throw this.#error('protocol', 'body longer than announced')
          if (!(error instanceof UpstreamError || error instanceof ThreadDied)) throw error
          failure = error
        }
        const isComplete = this.#end !== undefined && this.#offset > this.#end
        if (isComplete || (failure === undefined && !this.#isMeasured)) return
        await this.#resume(failure)
      }
    } finally {
      this.close()
    }
  }

  /** Makes the next attempt; undefined stands for a body that ended early. Rejects where there is to be none. */
  async #resume(failure: unknown): Promise<void> {
    const { limits, reopen, signal } = this.#options
    for (let last = failure ?? this.#error('unreachable', 'body ended early'); ; ) {
      this.#current.body.close()
      this.#failures += 1
      if (this.#failures > limits.resumeAttempts) throw this.#exhausted(last)
      await pause(this.#delay(last), signal)
      try {
        const next = await reopen(this.#offset, signal)
        if (next) return this.#goOn(next)
        last = this.#error('unavailable', 'blob no longer to be had')
      } catch (error) {
        signal.throwIfAborted()
        const final = error instanceof UpstreamError && (error.kind === 'protocol' || error.kind === 'denied')
        if (final || !(error instanceof UpstreamError)) throw error
        last = error
      }
    }
  }

  /** Whether it is known where the body has to end. */
  get #isMeasured(): boolean {
    return this.#size !== undefined || (this.#end !== undefined && this.#current.tail === 'none')
  }

  #goOn(next: Attempt<Content>): void {
    if (this.#size !== undefined && next.size !== undefined && next.size !== this.#size) {
      throw this.#error('protocol', `blob of ${this.#size} bytes has become one of ${next.size}`)
    }
    this.#current = next
    this.#size ??= next.size
    this.#end ??= next.end
  }

  /** Milliseconds. */
  #delay(failure: unknown): number {
    const { resumeDelay, resumeDelayMax, resumeRetryAfterMax } = this.#options.limits
    const asked = failure instanceof UpstreamError ? (failure.retryAfter ?? 0) * 1000 : 0
    const usual = Math.min(resumeDelay * 2 ** (this.#failures - 1), resumeDelayMax)
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

  #error(kind: UpstreamErrorKind, message: string): UpstreamError {
    return new UpstreamError(this.#options.upstream, kind, message)
  }
}
