import type { MetadataTier } from '../../metadata/metadata-store.ts'

/** Bytes of the disk that the store lies on. */
export interface Disk {
  readonly total: number
  readonly free: number
}

/** What the store is kept within, besides what its disk has room for. */
export interface Bounds {
  /** Bytes; undefined leaves it to the disk alone. */
  readonly maxSize?: number | undefined
  /** Milliseconds after which what nobody wanted goes even if there is room; undefined for never. */
  readonly maxIdle?: number | undefined
}

/** All bytes. */
export interface Situation {
  /** What the store may hold: the configured size, or what the disk has room for if that is less. */
  readonly bound: number
  /** What has to go; not more than 0 where all is well. */
  readonly excess: number
  /** What goes with it, so that there is peace for a while. */
  readonly slack: number
}

export interface SpaceOptions {
  readonly metadata: Pick<MetadataTier, 'usage'>
  readonly disk: () => Promise<Disk>
  readonly bounds: Bounds
  /** Bytes that are recorded and gone. */
  readonly owed: () => number
}

/** What is evicted down to, of the bound: little, so that the cache stays full, and enough to run seldom. */
const lowWatermark = 0.97
/** Of the disk that is left to others, this program's metadata among them. */
const reserve = 0.05
const minReserve = 64 * 1024 * 1024

/** How much the store holds, and may hold. */
export class Space {
  readonly #options: SpaceOptions

  constructor(options: SpaceOptions) {
    this.#options = options
  }

  /** `expected`: bytes that lie on the disk already and are about to be adopted. Rejects where it cannot be told. */
  async look(expected: number): Promise<Situation> {
    const { metadata, disk, bounds, owed } = this.#options
    const { total, free } = await disk()
    const used = Math.max(0, (await metadata.usage()).bytes - owed())
    // On a disk too small for the least reserve, half of it is as much as can be left to others.
    const left = Math.min(Math.max(total * reserve, minReserve), total / 2)
    const maxSize = bounds.maxSize ?? Number.POSITIVE_INFINITY
    const bound = Math.floor(Math.max(0, Math.min(maxSize, used + expected + free - left)))
    return {
      bound,
      excess: Math.max(used + expected - maxSize, left - free),
      slack: bound * (1 - lowWatermark),
    }
  }
}
