import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import type { Access } from '../access-log.ts'

export interface AccessBatchOptions {
  /** Writes some accesses. If it rejects, they are kept and written again later. */
  readonly write: (accesses: readonly Access[]) => Promise<void>
  readonly onFailure: (error: unknown) => void
  /** Milliseconds an access may wait before it is written. */
  readonly delay?: number
  /** With this many waiting, all are written at once. */
  readonly fullSize?: number
  /** Accesses in one call of `write`: SQLite blocks everything else meanwhile. */
  readonly maxWrite?: number
  /** Accesses kept while writing fails. Above it, the one that has waited longest is dropped. */
  readonly maxWaiting?: number
}

/** Accesses that wait to be written, the latest of each digest. */
export class AccessBatch {
  readonly #options: Required<AccessBatchOptions>
  readonly #waiting = new Map<Digest, Access>()
  #writing = new Map<Digest, Access>()
  #written = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: AccessBatchOptions) {
    this.#options = { delay: 1000, fullSize: 1000, maxWrite: 200, maxWaiting: 100_000, ...options }
  }

  add(access: Access): void {
    const before = this.#waiting.size
    this.#keep(access)
    // Only when the size is reached, not above it: while writing fails, only the timer tries again.
    if (this.#waiting.size > before && this.#waiting.size === this.#options.fullSize) void this.flush()
    else this.#schedule()
  }

  /** The time of the access that waits for this digest, if there is one. */
  latest(digest: Digest): number | undefined {
    return (this.#waiting.get(digest) ?? this.#writing.get(digest))?.at
  }

  /** Drops a waiting access that is not later than `at`. */
  withdraw(digest: Digest, at: number): void {
    const access = this.#waiting.get(digest)
    if (access && access.at <= at) this.#waiting.delete(digest)
  }

  /** Resolves when everything added before has been written, or writing has failed. Never rejects. */
  flush(): Promise<void> {
    this.#written = this.#written.then(() => this.#writeAll())
    return this.#written
  }

  /** Flushes, and starts no timer afterwards. */
  async close(): Promise<void> {
    this.#closed = true
    await this.flush()
  }

  async #writeAll(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    while (this.#waiting.size > 0) {
      this.#writing = this.#take()
      try {
        await this.#options.write([...this.#writing.values()])
      } catch (error) {
        for (const access of this.#writing.values()) this.#keep(access)
        this.#schedule()
        this.#options.onFailure(error)
        return
      } finally {
        this.#writing = new Map()
      }
      if (this.#waiting.size > 0) await turn()
    }
  }

  #take(): Map<Digest, Access> {
    const taken = new Map<Digest, Access>()
    for (const [digest, access] of this.#waiting) {
      if (taken.size === this.#options.maxWrite) break
      taken.set(digest, access)
      this.#waiting.delete(digest)
    }
    return taken
  }

  #keep(access: Access): void {
    const known = this.#waiting.get(access.digest)
    if (known && known.at > access.at) return
    if (!known && this.#waiting.size >= this.#options.maxWaiting) {
      const [oldest] = this.#waiting.keys()
      if (oldest) this.#waiting.delete(oldest)
    }
    this.#waiting.set(access.digest, access)
  }

  #schedule(): void {
    if (this.#closed) return
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.delay).unref()
  }
}
