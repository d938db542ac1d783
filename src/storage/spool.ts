import { fchmod, fsync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { BodyReader } from './blob-store.ts'
import { SharedFile } from './file.ts'
import { type Followed, Follower, type Footing } from './follower.ts'

/** Bytes kept in memory behind the writer, so that readers who keep up never touch the file. */
const windowSize = 1024 * 1024
/** Bytes appended and not yet written, beyond which the writer is asked to wait for the disk. */
const backlogSize = 1024 * 1024
/** More buffers than this in one `writev` are refused by some kernels (IOV_MAX). */
const buffersPerWrite = 512

const sync = promisify(fsync)
const chmod = promisify(fchmod)

/** The spool's file cannot be written. Bytes appended so far can still be read, up to `written`. */
export class SpoolUnwritable extends Error {
  override readonly name = 'SpoolUnwritable'
}

/**
 * Asked when the disk takes no more, with the bytes that are waiting: whether it may now. The spool tries again as long as
 * it is told so.
 */
export type Relieve = (bytes: number) => Promise<boolean>

interface Piece {
  readonly offset: number
  readonly bytes: Buffer
}

/**
 * A local file that is read while it is still being written. One writer, any number of readers.
 *
 *     growing    append; readers follow, each at its own pace, but never get the last byte of a body of known size
 *     released   `release`: the content is right; readers get everything and end cleanly
 *     failed     `fail`: readers get what there is and then the error; `reject`: they get the error at once
 *     moved      `moveTo`, after release: the file is durable under its new path; readers go on undisturbed
 *     closed     `close`: the writer lets go; a file that was not moved is removed; readers go on undisturbed
 *
 * A body of unknown size is readable as it comes, and its clean end is what waits for `release`.
 */
export class Spool implements Followed {
  readonly path: string
  readonly #file: SharedFile
  readonly #relieve: Relieve
  #size: number | undefined
  readonly #pieces: Piece[] = []
  readonly #waiting = new Set<() => void>()
  #written = 0
  #onDisk = 0
  #windowStart = 0
  #state: 'growing' | 'released' | 'failed' | 'rejected' = 'growing'
  #error: unknown
  #diskError: SpoolUnwritable | undefined
  #writing: Promise<void> | undefined
  #moved = false

  /** Rejects with SpoolUnwritable. */
  static async create(path: string, relieve: Relieve = async () => false): Promise<Spool> {
    for (;;) {
      try {
        return new Spool(path, await SharedFile.open(path, 'wx+'), relieve)
      } catch (cause) {
        if (isFull(cause) && (await relieve(0).catch(() => false))) continue
        throw new SpoolUnwritable(`spool cannot be made: ${(cause as Error).message}`, { cause })
      }
    }
  }

  private constructor(path: string, file: SharedFile, relieve: Relieve) {
    this.path = path
    this.#file = file
    this.#relieve = relieve
  }

  /** Tells the size of the content in bytes, before any of it is appended. */
  expect(size: number): void {
    this.#size = size
  }

  /** Bytes appended so far. */
  get written(): number {
    return this.#written
  }

  /** Takes a chunk over. What it returns is to be awaited before the next call; rejects with SpoolUnwritable. */
  append(chunk: Buffer): Promise<void> | undefined {
    if (chunk.length === 0) return undefined
    this.#pieces.push({ offset: this.#written, bytes: chunk })
    this.#written += chunk.length
    this.#wake()
    if (this.#diskError) return Promise.reject(this.#diskError)
    this.#writing ??= this.#drain()
    return this.#written - this.#onDisk > backlogSize ? this.#room() : undefined
  }

  /** The content is right: lets go of the last byte. */
  release(): void {
    this.#settle('released', undefined)
  }

  /** Readers get every byte there is, then `error`. */
  fail(error: unknown): void {
    this.#settle('failed', error)
  }

  /** Readers get `error` and no more bytes: those there are were wrong. */
  reject(error: unknown): void {
    this.#settle('rejected', error)
  }

  /** Makes the content durable and read-only under `path`. Rejects with SpoolUnwritable. */
  async moveTo(path: string): Promise<void> {
    while (this.#writing) await this.#writing
    if (this.#diskError) throw this.#diskError
    try {
      await chmod(this.#file.fd, 0o444)
      await sync(this.#file.fd)
      await rename(this.path, path)
      this.#moved = true
    } catch (cause) {
      throw new SpoolUnwritable(`spool cannot be stored: ${(cause as Error).message}`, { cause })
    }
  }

  /** The writer lets go. */
  async close(): Promise<void> {
    while (this.#writing) await this.#writing
    if (!this.#moved) await rm(this.path, { force: true }).catch(() => undefined)
    await this.#file.release()
  }

  /** Reads from `start` to `end`, or to the end of the content where `end` is undefined. Not after `close`. */
  follow(span: { start: number; end: number | undefined }): BodyReader {
    return new Follower(this, this.#file.share(), span)
  }

  /** For followers: the next bytes at `offset`, by way of `into` if they are only on disk. */
  async next(offset: number, end: number | undefined, { into, wait }: Footing): Promise<Buffer | undefined> {
    for (;;) {
      if (end !== undefined && offset > end) return undefined
      const limit = Math.min(this.#readable(), end === undefined ? Number.POSITIVE_INFINITY : end + 1)
      if (offset < limit) return this.#fromWindow(offset, limit) ?? (await this.#fromFile(offset, limit, into()))
      if (this.#state === 'failed' || this.#state === 'rejected') throw this.#error
      if (this.#state === 'released') {
        if (end === undefined) return undefined
        throw new RangeError(`spool ended at ${this.#written}, before ${end}`)
      }
      await wait(this.#waiting)
    }
  }

  #readable(): number {
    if (this.#state === 'rejected') return 0
    if (this.#state === 'released' || this.#size === undefined) return this.#written
    return Math.min(this.#written, this.#size - 1)
  }

  #fromWindow(offset: number, limit: number): Buffer | undefined {
    if (offset < this.#windowStart) return undefined
    let low = 0
    let high = this.#pieces.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#pieces[middle] as Piece).offset <= offset) low = middle
      else high = middle - 1
    }
    const piece = this.#pieces[low]
    return piece?.bytes.subarray(offset - piece.offset, limit - piece.offset)
  }

  async #fromFile(offset: number, limit: number, buffer: Buffer): Promise<Buffer> {
    const length = Math.min(buffer.length, this.#windowStart - offset, limit - offset)
    const bytes = await this.#file.read(buffer, length, offset)
    if (bytes === 0) throw new RangeError(`spool file ended at ${offset}`)
    return buffer.subarray(0, bytes)
  }

  /** Writes what is pending until nothing is; after a failure the unwritten pieces stay readable in memory. */
  async #drain(): Promise<void> {
    try {
      while (this.#onDisk < this.#written) {
        const batch = this.#pending()
        this.#onDisk += await this.#write(batch)
        this.#trim()
        this.#wake()
      }
    } catch (cause) {
      this.#diskError = new SpoolUnwritable(`spool cannot be written: ${(cause as Error).message}`, { cause })
      this.#wake()
    } finally {
      this.#writing = undefined
    }
  }

  async #write(batch: readonly Buffer[]): Promise<number> {
    for (;;) {
      try {
        return await this.#file.write(batch, this.#onDisk)
      } catch (error) {
        const bytes = batch.reduce((sum, { length }) => sum + length, 0)
        if (!isFull(error) || !(await this.#relieve(bytes).catch(() => false))) throw error
      }
    }
  }

  #pending(): Buffer[] {
    const batch: Buffer[] = []
    for (const { offset, bytes } of this.#pieces) {
      if (offset + bytes.length <= this.#onDisk) continue
      batch.push(offset < this.#onDisk ? bytes.subarray(this.#onDisk - offset) : bytes)
      if (batch.length === buffersPerWrite) break
    }
    return batch
  }

  #trim(): void {
    let first = this.#pieces[0]
    while (
      first &&
      this.#written - this.#windowStart > windowSize &&
      first.offset + first.bytes.length <= this.#onDisk
    ) {
      this.#windowStart = first.offset + first.bytes.length
      this.#pieces.shift()
      first = this.#pieces[0]
    }
  }

  async #room(): Promise<void> {
    while (this.#written - this.#onDisk > backlogSize && !this.#diskError) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    if (this.#diskError) throw this.#diskError
  }

  #settle(state: 'released' | 'failed' | 'rejected', error: unknown): void {
    if (this.#state !== 'growing') return
    this.#state = state
    this.#error = error
    this.#wake()
  }

  #wake(): void {
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const resume of waiting) resume()
  }
}

function isFull(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
}
