import { UpstreamError } from '../oci/error.ts'
import { buffers } from './buffers.ts'
import { receiveSize } from './connector.ts'

/** Bytes received ahead of the reader: one buffer of them is filled while the other one is read. */
const ahead = receiveSize

/** What is read of a body nobody wants, in bytes, so that its connection can be used again. */
const worthDiscarding = 16 * 1024

/** The connection that a body comes from. */
export interface Source {
  pause(): void
  resume(): void
  /** Breaks the connection; `fail` is called with the same error before this returns. */
  abort(error: Error): void
}

export interface BodyOptions {
  readonly source: Source
  /** Bytes that the response says there are, if it does. */
  readonly length: number | undefined
  /** Milliseconds without a byte while a reader waits. */
  readonly stall: number
  /** The error that a stall is. */
  readonly stalled: () => Error
}

/**
 * The body of one response, between the connection that pushes and one reader that pulls. What comes while the reader is
 * busy is handed on as one piece, in one of two buffers that take turns. The reader reads to the end, or closes, or
 * discards; a failure waits for the reader, and never goes astray.
 */
export class Body {
  readonly #options: BodyOptions
  #filling: Buffer | undefined
  #filled = 0
  /** What the reader has. */
  #lent: Buffer | undefined
  /** Of the two buffers, those that are neither. */
  readonly #spare: Buffer[] = []
  #received = 0
  #paused = false
  #end: 'open' | 'complete' | 'failed' = 'open'
  #failure: unknown
  #discardable: number | undefined
  #waiting: PromiseWithResolvers<Buffer | undefined> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: BodyOptions) {
    this.#options = options
    // A large one waits for its reader from the start: so its connection learns that the head is over.
    if ((options.length ?? Number.POSITIVE_INFINITY) > ahead) this.#pause()
  }

  /** The next bytes, valid until the next call; undefined at the end. One call at a time. */
  async read(): Promise<Buffer | undefined> {
    if (this.#lent) this.#spare.push(this.#lent)
    this.#lent = undefined
    if (this.#filled > 0) {
      const bytes = this.#take()
      if (this.#paused) this.#flow()
      return bytes
    }
    if (this.#end !== 'open') this.#letGo()
    if (this.#end === 'failed') throw this.#failure
    if (this.#end === 'complete') return undefined
    const waiting = Promise.withResolvers<Buffer | undefined>()
    this.#waiting = waiting
    this.#watch()
    if (this.#paused) this.#flow()
    return waiting.promise
  }

  /** Everything; more than `limit` bytes is undefined, and closes it. */
  async readAll(limit: number): Promise<Buffer | undefined> {
    const chunks: Buffer[] = []
    let size = 0
    for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read()) {
      size += chunk.length
      if (size > limit) {
        this.close()
        return undefined
      }
      chunks.push(Buffer.from(chunk))
    }
    return Buffer.concat(chunks, size)
  }

  /** No more is wanted: what has not come is cut off. */
  close(): void {
    this.#drop()
    if (this.#end === 'open') this.#options.source.abort(new Error('closed by the reader'))
  }

  /** No more is wanted: a short rest is read behind the scenes, so that the connection can be used again. */
  discard(): void {
    if (this.#end !== 'open' || this.#discardable !== undefined) return
    this.#discardable = worthDiscarding - this.#filled
    this.#drop()
    // In this order: what flows may be all there is.
    this.#watch()
    if (this.#paused) this.#flow()
  }

  /** The chunk is the caller's again when this returns. */
  push(chunk: Buffer): void {
    if (this.#discardable !== undefined) {
      this.#discardable -= chunk.length
      if (this.#discardable < 0) this.close()
      return
    }
    // A parser that goes on says so with an empty one.
    if (chunk.length === 0) return
    const filling = this.#room(chunk.length)
    chunk.copy(filling, this.#filled)
    this.#filled += chunk.length
    this.#received += chunk.length
    if (this.#waiting) this.#wake()?.resolve(this.#take())
    else if (!this.#paused && this.#received !== this.#options.length) this.#pause()
  }

  complete(): void {
    this.#end = 'complete'
    const waiting = this.#wake()
    if (waiting) this.#letGo()
    waiting?.resolve(undefined)
  }

  fail(error: unknown): void {
    this.#end = 'failed'
    this.#failure = error
    const waiting = this.#wake()
    if (waiting) this.#letGo()
    waiting?.reject(error)
  }

  /** The buffer that is being filled, with room for so many bytes more. */
  #room(bytes: number): Buffer {
    const needed = this.#filled + bytes
    const filling = this.#filling ?? this.#spare.pop()
    if (filling && filling.length >= needed) {
      this.#filling = filling
      return filling
    }
    const { length = ahead } = this.#options
    const size = Math.max(needed, Math.min(length, ahead))
    // A small one is for no thread.
    const larger = length < ahead ? Buffer.allocUnsafeSlow(size) : buffers.take(size)
    if (filling) {
      filling.copy(larger, 0, 0, this.#filled)
      buffers.giveBack(filling)
    }
    this.#filling = larger
    return larger
  }

  #take(): Buffer {
    const filling = this.#filling as Buffer
    const bytes = filling.subarray(0, this.#filled)
    this.#lent = filling
    this.#filling = undefined
    this.#filled = 0
    return bytes
  }

  #drop(): void {
    this.#filled = 0
    this.#letGo()
  }

  /** Of the buffers, but for the one that the reader has: bytes of it may still be on their way. */
  #letGo(): void {
    if (this.#filling) this.#spare.push(this.#filling)
    this.#filling = undefined
    for (const buffer of this.#spare.splice(0)) buffers.giveBack(buffer)
  }

  #pause(): void {
    this.#paused = true
    this.#options.source.pause()
  }

  #flow(): void {
    this.#paused = false
    this.#options.source.resume()
  }

  #watch(): void {
    const { source, stall, stalled } = this.#options
    this.#timer = setTimeout(() => source.abort(stalled()), stall)
  }

  #wake(): PromiseWithResolvers<Buffer | undefined> | undefined {
    clearTimeout(this.#timer)
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
  }
}

/** A body that has to fit into memory: `limit` in bytes, of what is sent. */
export async function readWhole(
  body: Body,
  contentLength: number | undefined,
  limit: number,
  upstream: string,
): Promise<Buffer> {
  const fits = contentLength === undefined || contentLength <= limit
  const bytes = fits ? await body.readAll(limit) : undefined
  if (bytes === undefined) {
    body.close()
    throw new UpstreamError(upstream, 'protocol', `answer longer than ${limit} bytes`)
  }
  if (contentLength !== undefined && bytes.length !== contentLength) {
    throw new UpstreamError(upstream, 'unreachable', `answer broke off after ${bytes.length} of ${contentLength} bytes`)
  }
  return bytes
}
