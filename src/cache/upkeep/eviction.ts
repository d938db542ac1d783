import type { Access } from '../../metadata/access-log.ts'
import { pagesOf } from './pages.ts'
import { Removal, type RemovalOptions } from './removal.ts'
import { Retention } from './retention.ts'
import { type Fullness, fullness, type SpaceOptions } from './space.ts'

export interface EvictionOptions extends RemovalOptions, Omit<SpaceOptions, 'metadata'> {
  readonly now: () => number
}

export interface EvictionReport {
  readonly blobs: number
  readonly bytes: number
}

/** The store has no room for a blob, and nothing that may go would make any. */
export class NoRoom extends Error {
  override readonly name = 'NoRoom'

  constructor(size: number) {
    super(`the store has no room for ${size} bytes: they are more than its bound, or what it holds is pinned or in use`)
  }
}

/** The longest pull that is expected, in milliseconds: blobs used within it of each other belong to one pull. */
const maxPull = 60_000
/** Room that others were granted may be counted twice while they record what they stored. */
const maxAttempts = 3

/**
 * Keeps the store within its bound. The least recently used blob is the first candidate:
 *
 *     candidate                                             outcome
 *     its deletion is pending (see `Removal`)               skipped
 *     a pin covers it, or a stored manifest above it        stays
 *     a stored manifest above it was used later             moves in the order behind that manifest
 *     it is being read or filled, or was just used          stays
 *     none of these                                         deleted; if it is a manifest, its children are candidates
 *
 * So a shared layer stays for as long as one of its images does, and goes with the last one. Room is made before a blob
 * is adopted, so the store never exceeds its bound.
 */
export class Eviction {
  readonly #options: EvictionOptions
  readonly #removal: Removal
  /** The last work in the queue: one run at a time. */
  #last: Promise<unknown> = Promise.resolve()
  #running: Promise<EvictionReport> | undefined
  #stopped = false
  /** Bytes that were granted room and are not recorded yet. */
  #granted = 0

  constructor(options: EvictionOptions) {
    this.#options = options
    this.#removal = new Removal(options)
  }

  /** Whether `run` or `check` is at work. */
  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** What the store may hold, in bytes: the configured size, or what the disk has room for if that is less. */
  async bound(): Promise<number> {
    return (await this.#look(0)).bound
  }

  /**
   * Makes room for a blob whose bytes are on the disk already. The room is reserved until it is disposed of: once the
   * blob is recorded, or will not be. Rejects with NoRoom.
   */
  async room(size: number): Promise<Disposable> {
    return await this.#inTurn(async () => {
      for (let attempt = 1; attempt <= maxAttempts && !this.#stopped; attempt += 1) {
        const granted = this.#granted + size
        const { excess, slack, bound } = await this.#look(granted)
        if (size > bound) break
        if (excess <= 0) return this.#grant(size)
        await this.#free(excess + slack)
        // With the same sum as before: what others were granted still counts, even if it is recorded by now.
        if ((await this.#look(granted)).excess <= 0) return this.#grant(size)
      }
      throw new NoRoom(size)
    })
  }

  /** Frees at least so many bytes, for a disk that is full. False where nothing could go. */
  async relieve(bytes: number): Promise<boolean> {
    const { excess, slack } = await this.#look(this.#granted)
    return (await this.#inTurn(() => this.#free(Math.max(excess + slack, bytes)))).bytes > 0
  }

  /** Evicts what exceeds the size or the idle limit. Joins a run that is under way. */
  run(): Promise<EvictionReport> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** As `run`, without waiting: a failure is reported to the observer. */
  check(): void {
    if (this.#stopped) return
    this.run().catch((error: unknown) => this.#options.observer.storeFailed('metadata', error))
  }

  /** Starts no further run. Resolves when the current one has ended, which is soon. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running?.catch(() => undefined)
    await this.#last
  }

  /** Removes one blob, whatever its age and whoever reads it. False where it is being filled, or was used since. */
  remove(access: Access): Promise<boolean> {
    return this.#removal.force(access)
  }

  #look(granted: number): Promise<Fullness> {
    return fullness(this.#options, { granted, pendingDeletions: () => this.#removal.pendingBytes })
  }

  #grant(size: number): Disposable {
    let granted = size
    this.#granted += granted
    return {
      [Symbol.dispose]: () => {
        this.#granted -= granted
        granted = 0
      },
    }
  }

  /** One after the other, so that no two free the same room. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => undefined)
    return done
  }

  async #run(): Promise<EvictionReport> {
    const { index, bounds, now } = this.#options
    const report = await this.#inTurn(async () => {
      const { excess, slack } = await this.#look(this.#granted)
      return await this.#free(excess > 0 ? excess + slack : 0)
    })
    if (bounds.maxIdle === undefined) return report
    const usedBefore = now() - bounds.maxIdle
    const pages = pagesOf<Access>((after, limit) => index.leastRecentlyUsed(after, limit))
    // Page by page, so that whoever needs room does not wait for all of it.
    while (await this.#inTurn(() => this.#evictIdle(pages, usedBefore, report)));
    return report
  }

  /** Evicts what is idle on the next page, and adds it to the report. False where nothing idle can follow. */
  async #evictIdle(
    pages: AsyncGenerator<readonly Access[], undefined>,
    usedBefore: number,
    report: { blobs: number; bytes: number },
  ): Promise<boolean> {
    const { value: accesses } = await pages.next()
    if (!accesses) return false
    const idle = accesses.filter(({ at }) => at < usedBefore)
    add(await this.#take(idle, Number.POSITIVE_INFINITY), report)
    return idle.length === accesses.length && !this.#stopped
  }

  /** Evicts the least recently used until so many bytes are free, or nothing more can go. */
  async #free(bytes: number): Promise<{ blobs: number; bytes: number }> {
    const report = { blobs: 0, bytes: 0 }
    if (bytes <= 0) return report
    for await (const accesses of pagesOf<Access>((after, limit) =>
      this.#options.index.leastRecentlyUsed(after, limit),
    )) {
      add(await this.#take(accesses, bytes - report.bytes), report)
      if (report.bytes >= bytes || this.#stopped) break
    }
    return report
  }

  /** Evicts those of `accesses` that nothing keeps, in their order, until so many bytes are free. */
  async #take(accesses: readonly Access[], bytes: number): Promise<EvictionReport> {
    const report = { blobs: 0, bytes: 0 }
    if (accesses.length === 0 || this.#stopped) return report
    const retention = await Retention.of(this.#options.index, (access) => this.#removal.isPending(access))
    try {
      for (const access of accesses) {
        if (report.bytes >= bytes || this.#stopped) break
        if (await this.#goesNow(access, retention)) await this.#takeWhole(access, retention, report)
      }
    } finally {
      if (report.blobs > 0) this.#options.observer.evicted(report)
    }
    return report
  }

  /** Evicts a blob. With a manifest goes what only that needs, unless it was used after that manifest's last pull. */
  async #takeWhole(access: Access, retention: Retention, report: { blobs: number; bytes: number }): Promise<void> {
    const { index } = this.#options
    const children = await index.childrenOf(access.digest)
    if (!(await this.#removal.evict(access))) return
    add({ blobs: 1, bytes: access.size }, report)
    for (const digest of children) {
      const child = await index.lastAccess(digest)
      if (!child || child.at > access.at + maxPull) continue
      if (await this.#goesNow(child, retention)) await this.#takeWhole(child, retention, report)
    }
  }

  /** Whether nothing keeps the blob. One that a younger manifest keeps moves behind that manifest in the order. */
  async #goesNow(access: Access, retention: Retention): Promise<boolean> {
    if (this.#removal.isPending(access)) return false
    const reason = await retention.reasonToKeep(access)
    if (typeof reason === 'string') return reason === 'none'
    // It moves in the order to the place behind its manifest. By the time that place is reached, the manifest has gone
    // or not.
    await this.#options.metadata.recordAccesses([{ ...access, at: reason.since + 1 }])
    return false
  }
}

function add({ blobs, bytes }: EvictionReport, report: { blobs: number; bytes: number }): void {
  report.blobs += blobs
  report.bytes += bytes
}
