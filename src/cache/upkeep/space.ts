import type { MetadataTier } from '../../metadata/metadata-store.ts'

/** The disk that the store is on, in bytes. */
export interface Disk {
  readonly total: number
  readonly free: number
}

/** The configured limits of the store. The room on its disk is a further one. */
export interface Bounds {
  /** Bytes. Undefined: only the disk limits the store. */
  readonly maxSize?: number | undefined
  /** Milliseconds after which an unused blob goes even if there is room. Undefined: never. */
  readonly maxIdle?: number | undefined
}

/** How full the store is. Everything in bytes. */
export interface Fullness {
  /** What the store may hold: the configured size, or what the disk has room for if that is less. */
  readonly bound: number
  /** What has to go. 0 or less where nothing has to. */
  readonly excess: number
  /** What goes besides, so that the next eviction is not needed at once. */
  readonly slack: number
}

export interface SpaceOptions {
  readonly metadata: Pick<MetadataTier, 'usage'>
  readonly disk: () => Promise<Disk>
  readonly bounds: Bounds
}

/** Eviction goes down to this share of the bound: high enough to keep the cache full, low enough to run seldom. */
const lowWatermark = 0.97
/** The share of the disk that is left to others, such as this program's metadata. */
const reserve = 0.05
const minReserve = 64 * 1024 * 1024

/**
 * Compares what the store holds with what it may hold. `granted`: bytes that are on the disk already and are about to be
 * adopted; `pendingDeletions`: bytes that are still recorded, of blobs that are gone. Rejects where disk or records cannot
 * be read.
 */
export async function fullness(
  { metadata, disk, bounds }: SpaceOptions,
  { granted, pendingDeletions }: { granted: number; pendingDeletions: () => number },
): Promise<Fullness> {
  const { total, free } = await disk()
  const used = Math.max(0, (await metadata.usage()).bytes - pendingDeletions())
  // On a disk that is too small for the least reserve, half of it is left to others.
  const left = Math.min(Math.max(total * reserve, minReserve), total / 2)
  const maxSize = bounds.maxSize ?? Number.POSITIVE_INFINITY
  const bound = Math.floor(Math.max(0, Math.min(maxSize, used + granted + free - left)))
  return {
    bound,
    excess: Math.max(used + granted - maxSize, left - free),
    slack: bound * (1 - lowWatermark),
  }
}
