import type { Hash } from 'node:crypto'
import { fchmod, fsync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Digest } from '../oci/digest.ts'
import type { BodyReader } from './blob-store.ts'
import { SharedFile } from './file.ts'
import { type Followed, Follower, type Waiting } from './follower.ts'
import type { Offload } from './offload.ts'
import { Writer } from './writer.ts'

/** Readers are told of growth by so many bytes, or so many milliseconds later: each telling costs each reader a turn. */
const worthTelling = 512 * 1024
const tellWithin = 10

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

export interface SpoolOptions {
  readonly relieve?: Relieve
  readonly offload?: Offload
}

/**
 * A local file that is read while it is still being written. One writer, any number of readers, all of them by way of the
 * file: what the kernel keeps of it in memory serves them, and nothing is kept twice.
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
  readonly #options: SpoolOptions
  readonly #writer: Writer
  readonly #waiting: Waiting = new Set()
  #size: number | undefined
  #onDisk = 0
  /** The end of what was appended, where the disk did not take it. */
  #unwritten: Buffer | undefined
  #told = 0
  #telling: NodeJS.Timeout | undefined
  #state: 'growing' | 'released' | 'failed' | 'rejected' = 'growing'
  #error: unknown
  #diskError: SpoolUnwritable | undefined
  #moved = false

  /** Rejects with SpoolUnwritable. */
  static async create(path: string, options: SpoolOptions = {}): Promise<Spool> {
    const { relieve, offload } = options
    for (;;) {
      try {
        return new Spool(path, await SharedFile.open(path, 'wx+', offload?.sending), options)
      } catch (cause) {
        if (isFull(cause) && (await relieve?.(0).catch(() => false))) continue
        throw new SpoolUnwritable(`spool cannot be made: ${(cause as Error).message}`, { cause })
      }
    }
  }

  private constructor(path: string, file: SharedFile, options: SpoolOptions) {
    this.path = path
    this.#file = file
    this.#options = options
    this.#writer = new Writer(file, options.offload?.writing)
  }

  /** Tells the size of the content in bytes, before any of it is appended. */
  expect(size: number): void {
    this.#size = size
  }

  /** Wants the content hashed as it comes, to be compared with `digest`. Before any of it is appended. */
  hashFor(digest: Digest): void {
    this.#writer.hashFor(digest)
  }

  /** Bytes appended so far. */
  get written(): number {
    return this.#onDisk + (this.#unwritten?.length ?? 0)
  }

  /**
   * Writes a chunk, which is the caller's again afterwards; one at a time. Rejects with SpoolUnwritable where the disk does
   * not take it: then it is readable all the same, and the last one.
   */
  async append(chunk: Buffer): Promise<void> {
    if (this.#diskError) throw this.#diskError
    const start = this.#onDisk
    try {
      while (this.#onDisk < start + chunk.length) await this.#write(chunk.subarray(this.#onDisk - start))
    } catch (cause) {
      this.#unwritten = Buffer.from(chunk.subarray(this.#onDisk - start))
      this.#diskError = new SpoolUnwritable(`spool cannot be written: ${(cause as Error).message}`, { cause })
    }
    this.#grown()
    if (this.#diskError) throw this.#diskError
  }

  /** The digest of all that was appended, in hex. Only after `hashFor`, and once. Rejects with SpoolUnwritable. */
  async digest(): Promise<string> {
    const onDisk = this.#unwritten ? undefined : await this.#writer.digest().catch(() => undefined)
    if (onDisk !== undefined) return onDisk
    // Where the thread is no help, it is done here.
    try {
      return (await this.hashSoFar()).digest('hex')
    } catch (cause) {
      throw new SpoolUnwritable(`spool cannot be read back: ${(cause as Error).message}`, { cause })
    }
  }

  /** A hash of all that was appended, to go on with. Only after `hashFor`. Rejects where the file cannot be read. */
  hashSoFar(): Promise<Hash> {
    const all = new Follower({ at: async (offset) => this.#there(offset, this.written) }, this.#file.share(), {
      start: 0,
      end: undefined,
    })
    return this.#writer.soFar(all, this.#unwritten)
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
    await this.#writer.close()
    clearTimeout(this.#telling)
    if (!this.#moved) await rm(this.path, { force: true }).catch(() => undefined)
    await this.#file.release()
  }

  /** Reads from `start` to `end`, or to the end of the content where `end` is undefined. Not after `close`. */
  follow(span: { start: number; end: number | undefined }): BodyReader {
    return new Follower(this, this.#file.share(), span)
  }

  async at(
    offset: number,
    end: number | undefined,
    wait: (waiting: Waiting) => Promise<void>,
  ): Promise<number | Buffer> {
    for (;;) {
      if (end !== undefined && offset > end) return 0
      const limit = Math.min(this.#readable(), end === undefined ? Number.POSITIVE_INFINITY : end + 1)
      if (offset < limit) return this.#there(offset, limit)
      if (this.#state === 'failed' || this.#state === 'rejected') throw this.#error
      if (this.#state === 'released') {
        if (end === undefined) return 0
        throw new RangeError(`spool ended at ${this.written}, before ${end}`)
      }
      await wait(this.#waiting)
    }
  }

  #there(offset: number, limit: number): number | Buffer {
    if (offset >= limit) return 0
    if (offset < this.#onDisk) return Math.min(limit, this.#onDisk) - offset
    return this.#unwritten?.subarray(offset - this.#onDisk, limit - this.#onDisk) ?? 0
  }

  #readable(): number {
    if (this.#state === 'rejected') return 0
    if (this.#state === 'released' || this.#size === undefined) return this.written
    return Math.min(this.written, this.#size - 1)
  }

  async #write(bytes: Buffer): Promise<void> {
    try {
      this.#onDisk += await this.#writer.append(bytes, { position: this.#onDisk, size: this.#size })
    } catch (error) {
      const { relieve } = this.#options
      if (!isFull(error) || !(await relieve?.(bytes.length).catch(() => false))) throw error
    }
  }

  /** The first bytes are told of at once. */
  #grown(): void {
    if (this.#told === 0 || this.written - this.#told >= worthTelling) this.#tell()
    else this.#telling ??= setTimeout(() => this.#tell(), tellWithin)
  }

  #settle(state: 'released' | 'failed' | 'rejected', error: unknown): void {
    if (this.#state !== 'growing') return
    this.#state = state
    this.#error = error
    this.#tell()
  }

  #tell(): void {
    clearTimeout(this.#telling)
    this.#telling = undefined
    this.#told = this.written
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
