import type { Attempts } from './attempts.ts'
import type { Body } from './body.ts'

/** The bytes of a blob, in chunks, over as many attempts as it takes. For one reader, that reads once. */
export class BlobChunks implements AsyncIterable<Buffer>, AsyncIterator<Buffer, undefined> {
  readonly #attempts: Attempts<Body>
  #skip: number
  #closed = false

  constructor(attempts: Attempts<Body>) {
    this.#attempts = attempts
    this.#skip = attempts.current.skip
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

  #close(): void {
    this.#closed = true
    this.#attempts.close()
  }

  /** The next bytes; undefined at the end of what was asked for. */
  async #read(): Promise<Buffer | undefined> {
    const attempts = this.#attempts
    for (;;) {
      attempts.signal.throwIfAborted()
      if (attempts.isComplete && attempts.current.tail === 'unwanted') return undefined
      const received = await this.#receive()
      if (Buffer.isBuffer(received)) {
        const wanted = this.#take(received)
        if (wanted.length > 0) return wanted
      } else if (attempts.isComplete || (received === 'end' && !attempts.isMeasured)) {
        return undefined
      } else {
        await attempts.resume(received === 'end' ? undefined : received.failure)
        this.#skip = attempts.current.skip
      }
    }
  }

  async #receive(): Promise<Buffer | 'end' | { failure: unknown }> {
    try {
      return (await this.#attempts.current.body.read()) ?? 'end'
    } catch (failure) {
      this.#attempts.signal.throwIfAborted()
      return { failure }
    }
  }

  #take(chunk: Buffer): Buffer {
    const { left = chunk.length, current } = this.#attempts
    const skipped = Math.min(this.#skip, chunk.length)
    if (chunk.length - skipped > left && current.tail === 'none') throw this.#attempts.tooLong()
    const wanted = chunk.subarray(skipped, skipped + left)
    this.#skip -= skipped
    this.#attempts.advance(wanted.length)
    return wanted
  }
}
