import type { Hash } from 'node:crypto'
import { fchmod, fstatSync, fsync, ftruncate } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Digest } from '../../oci/digest.ts'
import type { BodyReader } from '../body-reader.ts'
import { SharedFile } from '../file.ts'
import type { IoThreads } from '../io-threads.ts'
import { type Followed, Follower, type Waiting } from './follower.ts'
import { SpoolHash } from './spool-hash.ts'

/** How much room is asked for at most, in bytes, when the disk is full. */
const relief = 1024 * 1024

const sync = promisify(fsync)
const chmod = promisify(fchmod)
const truncate = promisify(ftruncate)

/** The spool's file cannot be written. The bytes that it has, `written`, can still be read. */
export class SpoolUnwritable extends Error {
  override readonly name = 'SpoolUnwritable'
}

/** Makes room on a full disk, for so many bytes if it can. True where a write is worth another try. */
export type Relieve = (bytes: number) => Promise<boolean>

export interface SpoolOptions {
  readonly relieve?: Relieve
  readonly ioThreads?: IoThreads
}

/**
 * A local file that is read while it is still being written. Whoever writes it says how many bytes it has; everybody else
 * reads it: clients, and what hashes it. The kernel has in memory what was just written, so nothing is kept twice.
 *
 *     state      | entered by        | a reader gets
 *     growing    | create            | what is written, but never the last byte of a body of known size
 *     released   | release           | everything, and a clean end
 *     failed     | fail              | the same, and then the error
 *     rejected   | reject            | the error at once: what is written is wrong
 *
 * The first of `release`, `fail` and `reject` counts. After `release`, `moveTo` makes the file durable under its new path.
 * `close` ends the writer's part, in any state; a file that was not moved is removed. Readers go on undisturbed by both.
 *
 * A body of unknown size is readable as it comes, and its clean end is what waits for `release`.
 */
export class Spool implements Followed {
  readonly path: string
  readonly #file: SharedFile
  readonly #options: SpoolOptions
  readonly #waiting: Waiting = new Set()
  #hash: SpoolHash | undefined
  #size: number | undefined
  #written = 0
  #state: 'growing' | 'released' | 'failed' | 'rejected' = 'growing'
  #error: unknown
  #moved = false

  /** Rejects with SpoolUnwritable. */
  static async create(path: string, options: SpoolOptions = {}): Promise<Spool> {
    const { relieve, ioThreads } = options
    for (;;) {
      try {
        return new Spool(path, await SharedFile.open(path, 'wx+', ioThreads), options)
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
  }

  /** Says how many bytes the content has, before any of it is written. */
  expect(size: number): void {
    this.#size = size
  }

  /** Has the content hashed as it comes, to be compared with `digest`. Before any of it is written. */
  hashFor(digest: Digest): void {
    this.#hash = new SpoolHash(this.#file, digest, this.#options.ioThreads?.hashing)
  }

  get isWhole(): boolean {
    return this.#state === 'released'
  }

  /** Bytes that the file has. */
  get written(): number {
    return this.#written
  }

  /**
   * For whoever writes the next bytes: the file, open until `close`, where they go, and whom to ask when the system takes
   * no more. `refused` resolves when there is room again, and rejects with SpoolUnwritable.
   */
  get target(): { descriptor: number; offset: number; refused: (error: unknown) => Promise<void> } {
    return { descriptor: this.#file.fd, offset: this.#written, refused: (error) => this.#refused(error) }
  }

  /** So many bytes more are in the file. */
  grew(bytes: number): void {
    this.#written += bytes
    this.#hash?.advance(this.#written)
    this.#wake()
  }

  /** Writes bytes, one call at a time. Rejects with SpoolUnwritable; part of them may be written then. */
  async append(bytes: Buffer): Promise<void> {
    for (let rest = bytes; rest.length > 0; ) {
      try {
        const written = await this.#file.write(rest, this.#written)
        rest = rest.subarray(written)
        this.grew(written)
      } catch (error) {
        await this.#refused(error)
      }
    }
  }

  /** The digest of all that is written, in hex. Only after `hashFor`. Rejects with SpoolUnwritable. */
  async digest(): Promise<string> {
    try {
      return await this.#hashing.digest(this.#written)
    } catch (cause) {
      throw new SpoolUnwritable(`spool cannot be read back: ${(cause as Error).message}`, { cause })
    }
  }

  /** A hash of all that is written, to go on with. Only after `hashFor`. Rejects where the file cannot be read. */
  hashSoFar(): Promise<Hash> {
    return this.#hashing.read(this.#written)
  }

  /** The content is right: readers get the last byte. */
  release(): void {
    this.#settle('released', undefined)
  }

  /** Readers get what is written, then `error`. */
  fail(error: unknown): void {
    this.#settle('failed', error)
  }

  /** Readers get `error` and no more bytes: those that are written are wrong. */
  reject(error: unknown): void {
    this.#settle('rejected', error)
  }

  /** Makes the content durable and read-only under `path`. Rejects with SpoolUnwritable. */
  async moveTo(path: string): Promise<void> {
    const { fd } = this.#file
    try {
      // A writer that failed may have written more than it said.
      if (fstatSync(fd).size !== this.#written) await truncate(fd, this.#written)
      await chmod(fd, 0o444)
      await sync(fd)
      await rename(this.path, path)
      this.#moved = true
    } catch (cause) {
      throw new SpoolUnwritable(`spool cannot be stored: ${(cause as Error).message}`, { cause })
    }
  }

  /** When nobody writes any more. */
  async close(): Promise<void> {
    await this.#hash?.close()
    if (!this.#moved) await rm(this.path, { force: true }).catch(() => undefined)
    await this.#file.release()
  }

  /** Reads from `start` to `end`, or to the end of the content where `end` is undefined. Not after `close`. */
  follow(span: { start: number; end: number | undefined }): BodyReader {
    return new Follower(this, this.#file.share(), span)
  }

  async at(offset: number, end: number | undefined, wait: (waiting: Waiting) => Promise<void>): Promise<number> {
    for (;;) {
      if (end !== undefined && offset > end) return 0
      const limit = Math.min(this.#readable, end === undefined ? Number.POSITIVE_INFINITY : end + 1)
      if (offset < limit) return limit - offset
      if (this.#state === 'rejected' || this.#state === 'failed') throw this.#error
      if (this.#state === 'released') {
        if (end === undefined) return 0
        throw new RangeError(`spool ended at ${this.#written}, before ${end}`)
      }
      await wait(this.#waiting)
    }
  }

  get #readable(): number {
    if (this.#state === 'rejected') return 0
    // A failure may come when all is written and nothing is verified: the last byte is what completes a body.
    if (this.#state !== 'released' && this.#size !== undefined) return Math.min(this.#written, this.#size - 1)
    return this.#written
  }

  get #hashing(): SpoolHash {
    if (!this.#hash) throw new Error('no hash was asked for')
    return this.#hash
  }

  async #refused(cause: unknown): Promise<void> {
    const { relieve } = this.#options
    const left = Math.min(relief, (this.#size ?? Number.POSITIVE_INFINITY) - this.#written)
    if (isFull(cause) && (await relieve?.(left).catch(() => false))) return
    throw new SpoolUnwritable(`spool cannot be written: ${(cause as Error).message}`, { cause })
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
