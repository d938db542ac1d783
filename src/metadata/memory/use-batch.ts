import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import type { Use } from '../metadata-store.ts'

export interface UseBatchOptions {
  /** Writes a batch; what is refused is kept and tried again. */
  readonly write: (uses: readonly Use[]) => Promise<void>
  readonly onFailure: (error: unknown) => void
  /** Milliseconds a use may wait for company. */
  readonly interval?: number
  /** As many waiting are written at once. */
  readonly size?: number
  /** Uses given to `write` at a time: SQLite holds up everything else meanwhile. */
  readonly part?: number
  /** Uses kept while they cannot be written; beyond, the longest waiting is lost. */
  readonly most?: number
}

/** Last uses on their way into a store, the newest of each digest. */
export class UseBatch {
  readonly #options: Required<UseBatchOptions>
  readonly #waiting = new Map<Digest, Use>()
  #writing = new Map<Digest, Use>()
  #written = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: UseBatchOptions) {
    this.#options = { interval: 1000, size: 1000, part: 200, most: 100_000, ...options }
  }

  add(use: Use): void {
    const before = this.#waiting.size
    this.#keep(use)
    // Only on reaching the size: while the store fails, the timer alone tries again.
    if (this.#waiting.size > before && this.#waiting.size === this.#options.size) void this.flush()
    else this.#schedule()
  }

  /** When a use is waiting to be written, its time. */
  latest(digest: Digest): number | undefined {
    return (this.#waiting.get(digest) ?? this.#writing.get(digest))?.at
  }

  /** Takes back a use that is not to be written after all, unless there is a later one. */
  withdraw(digest: Digest, at: number): void {
    const use = this.#waiting.get(digest)
    if (use && use.at <= at) this.#waiting.delete(digest)
  }

  /** When everything added before has been written, or refused. Never rejects. */
  flush(): Promise<void> {
    this.#written = this.#written.then(() => this.#writeAll())
    return this.#written
  }

  /** Writes what it can for the last time. */
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
        for (const use of this.#writing.values()) this.#keep(use)
        this.#schedule()
        this.#options.onFailure(error)
        return
      } finally {
        this.#writing = new Map()
      }
      if (this.#waiting.size > 0) await turn()
    }
  }

  #take(): Map<Digest, Use> {
    const batch = new Map<Digest, Use>()
    for (const [digest, use] of this.#waiting) {
      if (batch.size === this.#options.part) break
      batch.set(digest, use)
      this.#waiting.delete(digest)
    }
    return batch
  }

  #keep(use: Use): void {
    const known = this.#waiting.get(use.digest)
    if (known && known.at > use.at) return
    if (!known && this.#waiting.size >= this.#options.most) {
      const [longest] = this.#waiting.keys()
      if (longest) this.#waiting.delete(longest)
    }
    this.#waiting.set(use.digest, use)
  }

  #schedule(): void {
    if (this.#closed) return
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.interval).unref()
  }
}
