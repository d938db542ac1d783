import type { ContentIndex, Cursor } from '../../metadata/content-index.ts'
import type { MetadataTier, Use } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobStore } from '../../storage/blob-store.ts'
import type { Fills } from '../fill/fills.ts'
import type { Observer } from '../observer.ts'
import { Removal } from './removal.ts'
import { Claims } from './retention.ts'
import { type Bounds, type Disk, Space } from './space.ts'

export interface EvictionOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: ContentIndex
  readonly fills: Fills
  readonly observer: Observer
  readonly now: () => number
  readonly disk: () => Promise<Disk>
  readonly bounds: Bounds
  /** Memory of a digest goes: what is cached in front of the store. */
  readonly forget: (digest: Digest) => void
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

/** Between the first request of a pull and its last, in milliseconds: what was used within it was used together. */
const onePull = 60_000
const page = 100
/** Others' room may be counted twice while it is taken up. */
const attempts = 3

/**
 * Keeps the store within its bound: the least recently used goes first.
 *
 * A blob counts as used when a stored manifest that leads to it was used, so a shared layer outlives the images that are
 * gone, and with the last of its images goes what only that needed. Never taken: what is being read or filled, and what
 * is pinned. Room is made before a blob is adopted, not after, so the bound is never passed.
 */
export class Eviction {
  readonly #options: EvictionOptions
  readonly #space: Space
  readonly #removal: Removal
  #turn: Promise<unknown> = Promise.resolve()
  #running: Promise<EvictionReport> | undefined
  #stopped = false
  /** Bytes for which there is room, and which are not recorded yet. */
  #expected = 0

  constructor(options: EvictionOptions) {
    this.#options = options
    this.#removal = new Removal(options)
    this.#space = new Space({ ...options, owed: () => this.#removal.owed })
  }

  /** Whether a run is under way that was asked for, or that time brought. */
  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** What the store may hold, in bytes: the configured size, or what the disk has room for if that is less. */
  async bound(): Promise<number> {
    return (await this.#space.look(0)).bound
  }

  /**
   * Makes room for a blob whose bytes lie on the disk already, and keeps it until disposed of: when the blob has been
   * recorded, or will not be. Rejects with NoRoom.
   */
  async room(size: number): Promise<Disposable> {
    return await this.#next(async () => {
      for (let attempt = 1; attempt <= attempts && !this.#stopped; attempt += 1) {
        const expected = this.#expected + size
        const { excess, slack, bound } = await this.#space.look(expected)
        if (size > bound) break
        if (excess <= 0) return this.#expect(size)
        // What is granted to others may be recorded by now, or will be soon: it counts as it did.
        await this.#free(excess + slack)
        if ((await this.#space.look(expected)).excess <= 0) return this.#expect(size)
      }
      throw new NoRoom(size)
    })
  }

  /** Lets go of so many bytes at least, for a disk that took no more. False where nothing could go. */
  async relieve(bytes: number): Promise<boolean> {
    const { excess, slack } = await this.#space.look(this.#expected)
    return (await this.#next(() => this.#free(Math.max(excess + slack, bytes)))).bytes > 0
  }

  /** Looks whether anything has to go, and lets it. Joins a run that is under way. */
  run(): Promise<EvictionReport> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Like `run`, for those who do not wait: a failure is reported, and the next call tries again. */
  check(): void {
    if (this.#stopped) return
    this.run().catch((error: unknown) => this.#options.observer.storeFailed('metadata', error))
  }

  /** No further runs; resolves when what is under way has ended, soon. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running?.catch(() => undefined)
    await this.#turn
  }

  /** Takes one blob out, whatever its age and whoever reads it; false where it is being filled, or was used meanwhile. */
  remove(use: Use): Promise<boolean> {
    return this.#removal.force(use)
  }

  #expect(size: number): Disposable {
    let expected = size
    this.#expected += expected
    return {
      [Symbol.dispose]: () => {
        this.#expected -= expected
        expected = 0
      },
    }
  }

  /** One after the other, so that no two make the same room. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }

  async #run(): Promise<EvictionReport> {
    const { bounds, now } = this.#options
    const tooMuch = await this.#next(async () => {
      const { excess, slack } = await this.#space.look(this.#expected)
      return await this.#free(excess > 0 ? excess + slack : 0)
    })
    const total = { ...tooMuch }
    const idleSince = bounds.maxIdle === undefined ? Number.NEGATIVE_INFINITY : now() - bounds.maxIdle
    // By parts: those who need room do not wait for all of it.
    for (let after: Cursor | undefined | 'end'; after !== 'end' && bounds.maxIdle !== undefined; ) {
      const from: Cursor | undefined = after
      after = await this.#next(() => this.#dropIdle(from, idleSince, total))
    }
    return total
  }

  /** Where the idle ones go on. */
  async #dropIdle(
    after: Cursor | undefined,
    idleSince: number,
    total: { blobs: number; bytes: number },
  ): Promise<Cursor | undefined | 'end'> {
    const uses = await this.#options.index.coldestAfter(after, page)
    const idle = uses.filter(({ at }) => at < idleSince)
    const { blobs, bytes } = await this.#take(idle, Number.POSITIVE_INFINITY)
    total.blobs += blobs
    total.bytes += bytes
    return idle.length < page || this.#stopped ? 'end' : idle.at(-1)
  }

  /** Lets the coldest go until so many bytes are free; reports. */
  async #free(bytes: number): Promise<EvictionReport> {
    const total = { blobs: 0, bytes: 0 }
    for (let after: Cursor | undefined; total.bytes < bytes && !this.#stopped; ) {
      const uses = await this.#options.index.coldestAfter(after, page)
      const taken = await this.#take(uses, bytes - total.bytes)
      total.blobs += taken.blobs
      total.bytes += taken.bytes
      if (uses.length < page) break
      after = uses.at(-1)
    }
    return total
  }

  /** Takes out of these what nothing keeps, in their order, until so many bytes are free. */
  async #take(uses: readonly Use[], bytes: number): Promise<EvictionReport> {
    const report = { blobs: 0, bytes: 0 }
    if (uses.length === 0) return report
    const claims = await Claims.of(this.#options.index, (use) => this.#removal.isOwed(use))
    try {
      for (const use of uses) {
        if (report.bytes >= bytes || this.#stopped) break
        if (await this.#isFree(use, claims)) await this.#takeWhole(use, claims, report)
      }
    } finally {
      if (report.blobs > 0) this.#options.observer.evicted(report)
    }
    return report
  }

  /** Takes a blob out; if it is a manifest, with all that only it needs and that nobody wanted since its pull. */
  async #takeWhole(use: Use, claims: Claims, report: { blobs: number; bytes: number }): Promise<void> {
    const { index } = this.#options
    const named = await index.childrenOf(use.digest)
    if (!(await this.#removal.evict(use))) return
    report.blobs += 1
    report.bytes += use.size
    for (const digest of named) {
      const part = await index.use(digest)
      if (!part || part.at > use.at + onePull) continue
      if (await this.#isFree(part, claims)) await this.#takeWhole(part, claims, report)
    }
  }

  async #isFree(use: Use, claims: Claims): Promise<boolean> {
    if (this.#removal.isOwed(use)) return false
    const claim = await claims.on(use)
    if (typeof claim === 'string') return claim === 'none'
    // It takes the place behind what it is part of, and is looked at again there: by then that has gone, or has not.
    await this.#options.metadata.recordUses([{ ...use, at: claim.since + 1 }])
    return false
  }
}
