import type { Hash } from 'node:crypto'
import { fchmod, fsync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Digest } from '../../oci/digest.ts'
import type { BodyReader } from '../body-reader.ts'
import { SharedFile } from '../file.ts'
import type { Offload } from '../io-threads.ts'
import { type Followed, Follower, type Waiting } from './follower.ts'
import type { SuppliedRing } from './supplied-ring.ts'
import { Writer } from './writer.ts'

/** Readers are told of growth by so many bytes, or so many milliseconds later: each telling costs each reader a turn. */
const worthTelling = 1024 * 1024
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
  #appended = 0
  #appending: Promise<void> | undefined
  /** The end of what was appended, where the disk did not take it. */
  #unwritten: Buffer | undefined
  /** What was appended first, until the file has it: nobody waits for the disk with that. */
  #first: Buffer | undefined
  /** Bytes that readers know of. */
  #told = 0
  #telling: NodeJS.Timeout | undefined
  #state: 'growing' | 'released' | 'failed' | 'rejected' = 'growing'
  #error: unknown
  #diskError: SpoolUnwritable | undefined
  #moved = false
  #closed = false

  /** Rejects with SpoolUnwritable. */
  static async create(path: string, options: SpoolOptions = {}): Promise<Spool> {
    const { relieve, offload } = options
    for (;;) {
      try {
        return new Spool(path, await SharedFile.open(path, 'wx+', offload), options)
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
    this.#writer.expect(size)
  }

  /** Wants the content hashed as it comes, to be compared with `digest`. Before any of it is appended. */
  hashFor(digest: Digest): void {
    this.#writer.hashFor(digest)
  }

  get isWhole(): boolean {
    return this.#state === 'released' && !this.#isBehind
  }

  /** Bytes appended so far. */
  get written(): number {
    return this.#appended
  }

  /** Where what is appended is best received: then nothing is copied. Undefined where that is no help, or not yet. */
  get memory(): SuppliedRing | undefined {
    return this.#writer.memory
  }

  /**
   * Appends a chunk, which is the caller's again afterwards; one at a time. Resolves when there is room for more. Rejects
   * with SpoolUnwritable where the disk does not take it, or did not take what came before: then all that was appended is
   * readable all the same, and this was the last one. Or, as a number of bytes, takes note of what has come into its memory
   * by itself.
   */
  async append(chunk: Buffer | number): Promise<void> {
    const appending = this.#append(chunk)
    this.#appending = appending.catch(() => undefined)
    await appending
  }

  /** The digest of all that was appended, in hex. Only after `hashFor`, and once. Rejects with SpoolUnwritable. */
  async digest(): Promise<string> {
    const onDisk = await this.#flushed()
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
    const at = async (offset: number): Promise<number | Buffer> => this.#there(offset, this.#appended)
    const all = new Follower({ isWhole: true, at }, this.#file.share(), { start: 0, end: undefined })
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
    await this.#persist(() => this.#writer.flush())
    try {
      await chmod(this.#file.fd, 0o444)
      await sync(this.#file.fd)
      await rename(this.path, path)
      this.#moved = true
    } catch (cause) {
      throw new SpoolUnwritable(`spool cannot be stored: ${(cause as Error).message}`, { cause })
    }
  }

  /** The writer lets go, as soon as its readers can have all that was appended. */
  async close(): Promise<void> {
    await this.#appending
    const isWanted = this.#state === 'failed' || this.#state === 'released'
    if (isWanted && !this.#diskError) await this.#persist(() => this.#writer.flush()).catch(() => undefined)
    await this.#writer.close()
    this.#closed = true
    this.#tell()
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
      if (this.#state === 'rejected' || (this.#state === 'failed' && !this.#isBehind)) throw this.#error
      if (this.#state === 'released' && !this.#isBehind) {
        if (end === undefined) return 0
        throw new RangeError(`spool ended at ${this.#appended}, before ${end}`)
      }
      await wait(this.#waiting)
    }
  }

  async #append(chunk: Buffer | number): Promise<void> {
    if (this.#diskError) throw this.#diskError
    const isHere = typeof chunk !== 'number'
    if (isHere && this.#appended === 0) this.#first = Buffer.from(chunk)
    this.#appended += isHere ? chunk.length : chunk
    if (this.#told === 0) this.#tell()
    const write = (): Promise<void> => (isHere ? this.#writer.append(chunk) : this.#writer.passed())
    await this.#persist((again) => (again ? this.#writer.retry() : write()))
    this.#grown()
  }

  #there(offset: number, limit: number): number | Buffer {
    if (offset >= limit) return 0
    const { written } = this.#writer
    if (offset < written) return Math.min(limit, written) - offset
    if (this.#first && offset < this.#first.length) return this.#first.subarray(offset, limit)
    return this.#unwritten?.subarray(offset - written, limit - written) ?? 0
  }

  /** Bytes that can be read by now. */
  get #available(): number {
    return this.#unwritten ? this.#appended : Math.max(this.#writer.written, this.#first?.length ?? 0)
  }

  /** Whether more will be told of, though no more be appended. */
  get #isBehind(): boolean {
    return this.#told < this.#appended && !this.#closed
  }

  #readable(): number {
    if (this.#state === 'rejected') return 0
    if (this.#state === 'growing' && this.#size !== undefined) return Math.min(this.#told, this.#size - 1)
    return this.#told
  }

  /** Undefined where the digest is not to be had but by reading. */
  async #flushed(): Promise<string | undefined> {
    if (this.#diskError) return undefined
    try {
      await this.#persist(() => this.#writer.flush())
      this.#tell()
      return await this.#writer.digest()
    } catch {
      return undefined
    }
  }

  /** Does a piece of writing; again, where room was made for it. */
  async #persist(write: (again: boolean) => Promise<void>, again = false): Promise<void> {
    try {
      await write(again)
    } catch (cause) {
      const { relieve } = this.#options
      const waiting = this.#appended - this.#writer.written
      if (isFull(cause) && (await relieve?.(waiting).catch(() => false))) {
        return await this.#persist(write, true)
      }
      this.#unwritten = this.#writer.rest()
      this.#diskError = new SpoolUnwritable(`spool cannot be written: ${(cause as Error).message}`, { cause })
      this.#tell()
      throw this.#diskError
    }
  }

  #grown(): void {
    if (this.#available - this.#told >= worthTelling) this.#tell()
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
    this.#told = this.#available
    if (this.#writer.written >= (this.#first?.length ?? 0)) this.#first = undefined
    // A thread may be behind, and nothing more may come.
    if (this.#isBehind) this.#telling = setTimeout(() => this.#tell(), tellWithin)
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
