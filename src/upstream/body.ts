import { UpstreamError } from '../oci/error.ts'

/** Read ahead of the reader, in bytes: reception pauses above the first and goes on below the second. */
const enough = 128 * 1024
const little = 64 * 1024

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
  /** Milliseconds without a byte while a reader waits. */
  readonly stall: number
  /** The error that a stall is. */
  readonly stalled: () => Error
}

/**
 * The body of one response, between the connection that pushes and one reader that pulls. Chunks are handed on as they
 * came. The reader reads to the end, or closes, or discards; a failure waits for the reader, and never goes astray.
 */
export class Body {
  readonly #options: BodyOptions
  #chunks: Buffer[] = []
  #buffered = 0
  #paused = false
  #end: 'open' | 'complete' | 'failed' = 'open'
  #failure: unknown
  #discardable: number | undefined
  #waiting: PromiseWithResolvers<Buffer | undefined> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: BodyOptions) {
    this.#options = options
  }

  /** The next bytes; undefined at the end. One call at a time. */
  async read(): Promise<Buffer | undefined> {
    const chunk = this.#chunks.shift()
    if (chunk) {
      this.#buffered -= chunk.length
      if (this.#paused && this.#buffered < little) this.#flow()
      return chunk
    }
    if (this.#end === 'failed') throw this.#failure
    if (this.#end === 'complete') return undefined
    this.#waiting = Promise.withResolvers()
    this.#watch()
    return this.#waiting.promise
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
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, size)
  }

  /** No more is wanted: what has not come is cut off. */
  close(): void {
    this.#chunks = []
    this.#buffered = 0
    if (this.#end === 'open') this.#options.source.abort(new Error('closed by the reader'))
  }

  /** No more is wanted: a short rest is read behind the scenes, so that the connection can be used again. */
  discard(): void {
    if (this.#end !== 'open' || this.#discardable !== undefined) return
    this.#discardable = worthDiscarding - this.#buffered
    this.#chunks = []
    this.#buffered = 0
    if (this.#paused) this.#flow()
    this.#watch()
  }

  push(chunk: Buffer): void {
    if (this.#discardable !== undefined) {
      this.#discardable -= chunk.length
      if (this.#discardable < 0) this.close()
    } else if (this.#waiting) {
      this.#wake()?.resolve(chunk)
    } else {
      this.#chunks.push(chunk)
      this.#buffered += chunk.length
      if (this.#buffered >= enough && !this.#paused) {
        this.#paused = true
        this.#options.source.pause()
      }
    }
  }

  complete(): void {
    this.#end = 'complete'
    this.#wake()?.resolve(undefined)
  }

  fail(error: unknown): void {
    this.#end = 'failed'
    this.#failure = error
    this.#wake()?.reject(error)
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
