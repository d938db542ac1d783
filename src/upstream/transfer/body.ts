import { UpstreamError } from '../../oci/error.ts'
import type { Intake, Memory } from '../upstream.ts'
import { Buffers } from './buffers.ts'
import { receiveSize } from './connector.ts'

/** What has to be left of a body, in bytes, for somebody else to receive it: its connection is not used again. */
const worthHandingOver = 4 * 1024 * 1024

/** Where nobody does, or not yet, how much is received before they are asked again, in bytes: to ask is to pause. */
const worthAsking = 1024 * 1024

/** What is read of a body nobody wants, in bytes, so that its connection can be used again. */
const worthDiscarding = 16 * 1024

/** The connection that a body comes from. */
export interface Source {
  pause(): void
  resume(): void
  /** Has bytes received where `room` says, or elsewhere where it does not: in whatever room it has said last, until the end. */
  receiveInto(room: () => Buffer | undefined): void
  /** Whether somebody else could receive what comes. */
  readonly isPlain: boolean
  /** Of a plain connection, where somebody else may receive what comes next, as long as this end is paused. */
  readonly descriptor: number | undefined
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
 * busy waits for it in memory that is bounded, and then the connection does. The reader reads to the end, or closes, or
 * discards; a failure waits for the reader, and never goes astray.
 */
export class Body {
  readonly #options: BodyOptions
  #memory: Memory
  /** What is lent, and not in use before the reader has read what is ready. */
  #lent: Memory | undefined
  readonly #own: Buffers
  /** What was received and not read. */
  readonly #ready: Buffer[] = []
  #received = 0
  #paused = false
  #end: 'open' | 'complete' | 'failed' = 'open'
  #failure: unknown
  #intake: Intake | undefined
  /** What has to be received before it is tried to hand over again. */
  #notBefore = 0
  #discardable: number | undefined
  #waiting: PromiseWithResolvers<Buffer | undefined> | undefined
  #waitsSince = 0
  #timer: NodeJS.Timeout | undefined
  #waking: NodeJS.Immediate | undefined

  constructor(options: BodyOptions) {
    this.#options = options
    this.#own = new Buffers(options.length)
    this.#memory = this.#own
    // A large one waits for its reader from the start: so its connection learns that the head is over.
    if ((options.length ?? Number.POSITIVE_INFINITY) > receiveSize) this.#pause()
  }

  /** Once what was received so far is read, the next bytes are received there, as long as it has room. */
  receiveInto(memory: Memory): void {
    if (this.#memory === memory || this.#end !== 'open') return
    this.#lent = memory
    this.#useLent()
  }

  /** The next bytes, valid until the next call, or as long as the reader's own memory says; undefined at the end. One call at a time. */
  async read(): Promise<Buffer | undefined> {
    this.#useLent()
    const bytes = this.#take()
    if (bytes) {
      if (this.#paused && this.#memory.hasRoom && !this.#lent && !this.#isWorthHandingOver) this.#flow()
      return bytes
    }
    if (this.#end === 'failed') throw this.#failure
    if (this.#end === 'complete') return undefined
    const waiting = Promise.withResolvers<Buffer | undefined>()
    this.#waiting = waiting
    this.#watch()
    if (this.#paused && this.#memory.hasRoom) this.#flow()
    return waiting.promise
  }

  /** After a chunk: has what comes next received into the memory lent by somebody else, if that can be: yields how many bytes. */
  async *bypass(): AsyncGenerator<number, undefined> {
    const intake = this.#handOver()
    if (!intake) return undefined
    this.#intake = intake
    for await (const bytes of intake) {
      this.#received += bytes
      yield bytes
    }
    this.#handedBack(intake)
    return undefined
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
    this.#ready.length = 0
    if (this.#end === 'open') this.#options.source.abort(new Error('closed by the reader'))
  }

  /** No more is wanted: a short rest is read behind the scenes, so that the connection can be used again. */
  discard(): void {
    if (this.#end !== 'open' || this.#discardable !== undefined) return
    if (this.#memory !== this.#own) {
      // What still comes would come there.
      this.close()
      return
    }
    this.#discardable = worthDiscarding - this.#ready.reduce((sum, { length }) => sum + length, 0)
    this.#ready.length = 0
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
    this.#received += chunk.length
    this.#add(this.#memory.keep(chunk))
    // So that it can be handed over.
    if (this.#isWorthHandingOver && !this.#paused) this.#pause()
    if (this.#memory.hasRoom) this.#waking ??= setImmediate(() => this.#wake())
    else this.#wake()
    if (!this.#paused && !this.#memory.hasRoom && this.#received !== this.#options.length) this.#pause()
  }

  complete(): void {
    this.#end = 'complete'
    this.#over()
  }

  fail(error: unknown): void {
    if (this.#end !== 'open') return
    void this.#intake?.stop()
    this.#end = 'failed'
    this.#failure = error
    this.#over()
  }

  get #isWorthHandingOver(): boolean {
    const { length = 0 } = this.#options
    const isPossible = this.#options.source.isPlain && this.#memory.receive !== undefined
    return isPossible && length - this.#received >= worthHandingOver && this.#received >= this.#notBefore
  }

  #handOver(): Intake | undefined {
    const { source, length = 0, stall } = this.#options
    const isBetweenChunks = this.#end === 'open' && this.#paused && this.#ready.length === 0 && !this.#lent
    if (!isBetweenChunks || !this.#isWorthHandingOver) return undefined
    const socket = source.descriptor
    const supply = socket === undefined ? undefined : { socket, length: length - this.#received, stall }
    const intake = supply && this.#memory.receive?.(supply)
    if (!intake) this.#notBefore = this.#received + worthAsking
    return intake
  }

  #handedBack({ end }: Intake): void {
    const { source, length, stalled } = this.#options
    this.#intake = undefined
    if (this.#end !== 'open') return
    if (this.#received === length) this.complete()
    // Its parser has seen nothing of all that.
    source.abort(end === 'stalled' ? stalled() : Object.assign(new Error('connection broken'), codeOf(end)))
  }

  #take(): Buffer | undefined {
    this.#own.turn()
    return this.#ready.shift()
  }

  /** As one with the last, if that is what it continues. */
  #add(bytes: Buffer): void {
    const last = this.#ready.at(-1)
    const continues = last?.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset
    if (!last || !continues) this.#ready.push(bytes)
    else this.#ready[this.#ready.length - 1] = Buffer.from(bytes.buffer, last.byteOffset, last.length + bytes.length)
  }

  #useLent(): void {
    const memory = this.#lent
    if (!memory || this.#ready.length > 0 || this.#end !== 'open') return
    this.#lent = undefined
    this.#memory = memory
    // Without a length, the last of what is received may be no body any more.
    if (this.#options.length !== undefined) this.#options.source.receiveInto(() => this.#room(memory))
  }

  #room(memory: Memory): Buffer | undefined {
    const left = (this.#options.length ?? 0) - this.#received
    return left > 0 ? memory.room()?.subarray(0, Math.min(left, receiveSize)) : undefined
  }

  #pause(): void {
    this.#paused = true
    this.#options.source.pause()
  }

  #flow(): void {
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

  /** Gives the reader that waits what there is, or the end. What comes in one turn of the event loop comes together. */
  #wake(): void {
    clearImmediate(this.#waking)
    this.#waking = undefined
    const waiting = this.#waiting
    if (!waiting || (this.#ready.length === 0 && this.#end === 'open')) return
    this.#waiting = undefined
    const bytes = this.#take()
    if (bytes || this.#end === 'complete') waiting.resolve(bytes)
    else waiting.reject(this.#failure)
  }
}

function codeOf(end: Intake['end']): { code: string } {
  return typeof end === 'object' ? end : { code: 'UND_ERR_SOCKET' }
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
