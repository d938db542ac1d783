import type { Digest } from '../oci/digest.ts'

/** The last access to a stored blob. */
export interface Access {
  readonly digest: Digest
  /** Bytes in the store. */
  readonly size: number
  /** Epoch milliseconds. */
  readonly at: number
}

/** How much is stored, by the blobs that are recorded. */
export interface Usage {
  readonly blobs: number
  readonly bytes: number
}

/**
 * The last access to every blob in this process's own data folder: eviction goes by it, and the sums are the store's
 * usage. It is about one disk, so mirrors do not share it. `ContentIndex` lists what is recorded here.
 *
 * Failures and durability are those of `MetadataStore`.
 */
export interface AccessLog {
  /** Of each digest the access with the latest `at` is kept. */
  recordAccesses(accesses: readonly Access[]): Promise<void>
  /** Forgets a removed blob if its last access is still at `at`. False if it has been accessed since, or is unknown. */
  forgetAccess(digest: Digest, at: number): Promise<boolean>
  usage(): Promise<Usage>
}
