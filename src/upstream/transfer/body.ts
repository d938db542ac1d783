import { write } from 'node:fs'
import { promisify } from 'node:util'
import { UpstreamError } from '../../oci/error.ts'
import type { BodyFile } from '../upstream.ts'
import { releaseChunk } from './chunk.ts'
import { type BodyPart, BodyTooLong, type ResponseBody } from './response-body.ts'

const writeFile = promisify(write)

/** Bytes that wait for the reader before the connection is paused. */
const mostWaiting = 64 * 1024

/** What is read of a body nobody wants, in bytes, so that its connection can be used again. */
const worthDiscarding = 16 * 1024

/** The connection that a body comes from. */
export interface BodyConnection {
  pause(): void
  resume(): void
  /** Breaks the connection; `fail` is called with the same error before this returns. */
  abort(error: Error): void
}

export interface BodyOptions {
  readonly source: BodyConnection
  /** Milliseconds without a byte while a reader waits. */
  readonly stall: number
  /** The error that a stall is. */
  readonly stalled: () => Error
}

/**
 * The body of one response, between the connection that pushes and one reader that pulls. What comes while the reader is
 * busy waits for it, and from 64 KiB on the connection does. The reader reads to the end, or closes, or discards; a failure
 * waits for the reader, and never goes astray.
 */
export class Body implements ResponseBody {
  readonly #options: BodyOptions
  /** What was received and not read. */
  readonly #ready: Buffer[] = []
  #readyBytes = 0
  /** What the reader has. */
  #lent: Buffer | undefined
  #paused = false
  #end: 'open' | 'complete' | 'failed' = 'open'
  #failure: unknown
  #discardable: number | undefined
  #waiting: PromiseWithResolvers<Buffer | undefined> | undefined
  #waitsSince = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: BodyOptions) {
    this.#options = options
  }

  /** The next bytes, valid until the next call; undefined at the end. One call at a time. */
  async read(): Promise<Buffer | undefined> {
    if (this.#lent) releaseChunk(this.#lent)
    this.#lent = undefined
    const bytes = this.#take()
    if (bytes) return bytes
    if (this.#end === 'failed') throw this.#failure
    if (this.#end === 'complete') return undefined
    const waiting = Promise.withResolvers<Buffer | undefined>()
    this.#waiting = waiting
    this.#watch()
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

  async *into(file: BodyFile, { skip, most = Number.POSITIVE_INFINITY }: BodyPart): AsyncGenerator<number, undefined> {
    let toSkip = skip
    let written = 0
    for (let chunk = await this.read(); chunk; chunk = await this.read()) {
      const wanted = chunk.subarray(toSkip)
      toSkip -= chunk.length - wanted.length
      if (written + wanted.length > most) throw new BodyTooLong()
      for (let rest = wanted; rest.length > 0; ) {
        const bytes = await writeSome(file, rest, written)
        rest = rest.subarray(bytes)
        written += bytes
        if (bytes > 0) yield bytes
      }
    }
  }

  close(): void {
    this.#forget()
    if (this.#end === 'open') this.#options.source.abort(new Error('closed by the reader'))
  }

  discard(): void {
    if (this.#end !== 'open' || this.#discardable !== undefined) return
    this.#discardable = worthDiscarding - this.#readyBytes
    if (this.#discardable < 0) {
      this.close()
      return
    }
    this.#forget()
    // In this order: what flows may be all there is.
    this.#watch()
    this.#flow()
  }

  /** The chunk is the body's from now on. */
  push(chunk: Buffer): void {
    if (this.#discardable !== undefined) {
      this.#discardable -= chunk.length
      if (this.#discardable < 0) this.close()
      return
    }
    // A parser that goes on says so with an empty one.
    if (chunk.length === 0) return
    this.#ready.push(chunk)
    this.#readyBytes += chunk.length
    this.#wake()
    if (this.#readyBytes >= mostWaiting && !this.#paused) {
      this.#paused = true
      this.#options.source.pause()
    }
  }

  complete(): void {
    this.#end = 'complete'
    this.#over()
  }

  fail(error: unknown): void {
    if (this.#end !== 'open') return
    this.#end = 'failed'
    this.#failure = error
    this.#over()
  }

  #take(): Buffer | undefined {
    const chunk = this.#ready.shift()
    this.#lent = chunk
    this.#readyBytes -= chunk?.length ?? 0
    if (this.#readyBytes < mostWaiting) this.#flow()
    return chunk
  }

  #forget(): void {
    this.#ready.length = 0
    this.#readyBytes = 0
  }

  #flow(): void {
    if (!this.#paused || this.#end !== 'open') return
    this.#paused = false
    this.#options.source.resume()
  }

  /** One timer for many waits: it goes off, at first, for the one that was waiting when it was set. */
  #watch(): void {
    this.#waitsSince = performance.now()
    this.#timer ??= setTimeout(() => this.#look(), this.#options.stall)
  }

  #look(): void {
    const { source, stall, stalled } = this.#options
    this.#timer = undefined
    if (!this.#waiting && this.#discardable === undefined) return
    const left = this.#waitsSince + stall - performance.now()
    if (left <= 0) source.abort(stalled())
    else this.#timer = setTimeout(() => this.#look(), left)
  }

  #over(): void {
    clearTimeout(this.#timer)
    this.#wake()
  }

  /** Gives the reader that waits what there is, or the end. */
  #wake(): void {
    const waiting = this.#waiting
    if (!waiting || (this.#ready.length === 0 && this.#end === 'open')) return
    this.#waiting = undefined
    const bytes = this.#take()
    if (bytes || this.#end === 'complete') waiting.resolve(bytes)
    else waiting.reject(this.#failure)
  }
}

/** Returns how many bytes were written: 0 where the system refused, and there is room again. */
async function writeSome(file: BodyFile, bytes: Buffer, position: number): Promise<number> {
  try {
    return (await writeFile(file.descriptor, bytes, 0, bytes.length, file.offset + position)).bytesWritten
  } catch (error) {
    await file.refused(error)
    return 0
  }
}

/** A body that has to fit into memory: `limit` in bytes, of what is sent. */
export async function readWhole(
  body: Body,
  contentLength: number | undefined,
  limit: number,
  { upstream, asked }: { readonly upstream: string; readonly asked: string },
): Promise<Buffer> {
  const fits = contentLength === undefined || contentLength <= limit
  const bytes = fits ? await body.readAll(limit) : undefined
  if (bytes === undefined) {
    body.close()
    throw new UpstreamError(upstream, 'protocol', `${asked}: answer longer than ${limit} bytes`)
  }
  if (contentLength !== undefined && bytes.length !== contentLength) {
    const what = `${asked}: answer broke off after ${bytes.length} of ${contentLength} bytes`
    throw new UpstreamError(upstream, 'unreachable', what)
  }
  return bytes
}
