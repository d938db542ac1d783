import { type BodyReader, type Moved, nothingMoved, ReaderClosed, type SocketDescriptor } from '../body-reader.ts'
import type { SharedFile } from '../file.ts'

/** Bytes read at once; where others will be moved; and where others were moved, just to wait until more can be. */
const bufferSize = 256 * 1024
const beforeMoves = 16 * 1024
const betweenMoves = 4 * 1024
/** Bytes that are read, where they are not in memory, before it is asked again: to ask disturbs the kernel's reading ahead. */
const readThrough = 8 * 1024 * 1024

/** Called, all of them and once, when there may be more. */
export type Waiting = Set<() => void>

/** A file to read, which may grow meanwhile. */
export interface Followed {
  /** Whether it is all there. */
  readonly isWhole: boolean
  /**
   * How many bytes of the file can be read at `offset`; 0 at the clean end, or beyond `end`. Waits until there are some;
   * rejects with why there are no more.
   */
  at(offset: number, end: number | undefined, wait: (waiting: Waiting) => Promise<void>): Promise<number>
}

/**
 * One reading of a file, from its own offset, at its own pace. Holds the file open until closed. One buffer, made when it
 * is needed and filled anew by each `read`, so that memory stays constant.
 */
export class Follower implements BodyReader {
  readonly #content: Followed
  readonly #file: SharedFile
  readonly #end: number | undefined
  #offset: number
  #buffer: Buffer | undefined
  #hasMoved = false
  #readUntil = 0
  #busy: Promise<unknown> | undefined
  #cancel: (() => void) | undefined
  #closed = false

  /** Takes over one share of `file`. */
  constructor(content: Followed, file: SharedFile, { start, end }: { start: number; end: number | undefined }) {
    this.#content = content
    this.#file = file
    this.#offset = start
    this.#end = end
  }

  async read(): Promise<Buffer | undefined> {
    const bytes = await this.#alone(() => this.#read())
    this.#offset += bytes?.length ?? 0
    return bytes
  }

  async transfer(socket: SocketDescriptor, most: number): Promise<Moved> {
    const moved = await this.#alone(() => this.#move(socket, most))
    this.#offset += moved.bytes
    if (moved.bytes > 0) this.#moves()
    return moved
  }

  cork(socket: number): (() => void) | undefined {
    return this.#content.isWhole && this.#isForMoving ? this.#file.sending?.cork(socket) : undefined
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#cancel?.()
    await this.#busy?.catch(() => undefined)
    await this.#file.release()
  }

  async #read(): Promise<Buffer | undefined> {
    const there = await this.#content.at(this.#offset, this.#end, this.#wait)
    if (there === 0) return undefined
    this.#buffer ??= Buffer.allocUnsafeSlow(Math.min(this.#bufferSize, this.#left))
    const bytes = await this.#file.read(this.#buffer, Math.min(this.#buffer.length, there), this.#offset)
    if (bytes === 0) throw new RangeError(`the file ended at ${this.#offset}`)
    return this.#buffer.subarray(0, bytes)
  }

  async #move(socket: SocketDescriptor, most: number): Promise<Moved> {
    const { fd, sending } = this.#file
    if (!sending || this.#offset < this.#readUntil) return nothingMoved
    const there = await this.#content.at(this.#offset, this.#end, this.#wait)
    if (there === 0 || this.#closed) return nothingMoved
    const descriptor = socket()
    if (descriptor === undefined) return nothingMoved
    const { moved, stop } = sending.move(fd, descriptor, { position: this.#offset, length: Math.min(there, most) })
    this.#cancel = stop
    const { bytes, full, absent } = await moved.finally(() => {
      this.#cancel = undefined
    })
    if (absent) this.#readThrough(this.#offset + bytes)
    return { bytes, full }
  }

  /** What will be moved needs little, and there may be many who are slow. */
  get #bufferSize(): number {
    if (this.#offset < this.#readUntil) return bufferSize
    if (this.#hasMoved) return betweenMoves
    return this.#isForMoving ? beforeMoves : bufferSize
  }

  get #isForMoving(): boolean {
    return this.#file.sending !== undefined && this.#left > bufferSize
  }

  #moves(): void {
    if (this.#hasMoved) return
    this.#hasMoved = true
    this.#buffer = undefined
  }

  #readThrough(offset: number): void {
    this.#readUntil = offset + readThrough
    this.#buffer = undefined
  }

  /** Bytes at most. */
  get #left(): number {
    return this.#end === undefined ? Number.POSITIVE_INFINITY : this.#end + 1 - this.#offset
  }

  /** One call at a time, and `close` waits for it. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new ReaderClosed()
    const busy = work()
    this.#busy = busy
    try {
      return await busy
    } finally {
      this.#busy = undefined
    }
  }

  readonly #wait = (waiting: Waiting): Promise<void> =>
    new Promise((resolve, reject) => {
      // Closed between being woken and looking: nobody would wake it again.
      if (this.#closed) return reject(new ReaderClosed())
      const resume = (): void => {
        this.#cancel = undefined
        resolve()
      }
      this.#cancel = () => {
        waiting.delete(resume)
        reject(new ReaderClosed())
      }
      waiting.add(resume)
    })
}
