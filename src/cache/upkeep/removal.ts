import type { Access } from '../../metadata/access-log.ts'
import type { ContentIndex } from '../../metadata/content-index.ts'
import type { MetadataTier } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobStore } from '../../storage/blob-store.ts'
import type { Fills } from '../fill/fills.ts'
import type { Observer } from '../observer.ts'

export interface RemovalOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: ContentIndex
  readonly fills: Pick<Fills, 'exclude' | 'isRead'>
  readonly observer: Observer
  /** Drops what is cached of a digest in front of the store. */
  readonly forget: (digest: Digest) => void
}

/**
 * Removes blobs from the store, together with what is recorded of them. While it works on a digest, nobody can open,
 * fill or adopt that digest (`Fills.exclude`).
 *
 *     step                                           if it fails
 *     1  delete the record of the last use, if that  used since: nothing is removed.
 *        use is still the one that was looked at     Database cannot be written: step 2 follows, and the deletion of
 *                                                    the record is pending
 *     2  delete the file                             the record is restored
 *     3  delete references and links                 no harm: what is not stored keeps nothing, and a link stays true
 *
 * A full disk takes no deletion of a record either. So the file goes first there, and the records follow at the next
 * eviction.
 */
export class Removal {
  readonly #options: RemovalOptions
  /** Blobs that are gone from the store while their record is not. */
  readonly #pendingDeletions = new Map<Digest, Access>()

  constructor(options: RemovalOptions) {
    this.#options = options
  }

  /** Bytes that are still recorded, of blobs that are gone. */
  get pendingBytes(): number {
    return [...this.#pendingDeletions.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** Whether the blob is gone, and only its record is left. */
  isPending({ digest, at }: Access): boolean {
    return this.#pendingDeletions.get(digest)?.at === at
  }

  /** False where the blob is being read or filled, or was used since. */
  async evict(access: Access): Promise<boolean> {
    const { fills } = this.#options
    await this.#deletePending()
    const evicted = await fills.exclude(access.digest, async () => !fills.isRead(access.digest) && this.#remove(access))
    return evicted ?? false
  }

  /** False where the blob is being filled, or was used since. Whoever reads it reads on. */
  async force(access: Access): Promise<boolean> {
    return (await this.#options.fills.exclude(access.digest, () => this.#remove(access))) ?? false
  }

  async #remove(access: Access): Promise<boolean> {
    const { store, metadata, forget } = this.#options
    // First of all, so that whoever wants the blob from now on looks into the store, and waits there.
    forget(access.digest)
    if (!(await this.#forgetAccess(access))) return false
    try {
      await store.delete(access.digest)
    } catch (error) {
      this.#pendingDeletions.delete(access.digest)
      await metadata.recordAccesses([access])
      throw error
    }
    if (!this.#pendingDeletions.has(access.digest)) await this.#forgetRest(access.digest)
    return true
  }

  async #forgetAccess(access: Access): Promise<boolean> {
    const { metadata, index, observer } = this.#options
    try {
      return await metadata.forgetAccess(access.digest, access.at)
    } catch (error) {
      observer.storeFailed('metadata', error)
      if ((await index.lastAccess(access.digest))?.at !== access.at) return false
      this.#pendingDeletions.set(access.digest, access)
      return true
    }
  }

  async #forgetRest(digest: Digest): Promise<void> {
    const { index, forget, observer } = this.#options
    try {
      await index.deleteReferences(digest)
      await index.deleteLinks(digest)
    } catch (error) {
      observer.storeFailed('metadata', error)
    }
    // Again, for links that were read meanwhile.
    forget(digest)
  }

  /** Deletes the records that are pending. Stops at the first that cannot be deleted: the next eviction tries again. */
  async #deletePending(): Promise<void> {
    const { metadata, fills, observer } = this.#options
    for (const { digest, at } of this.#pendingDeletions.values()) {
      try {
        await fills.exclude(digest, async () => {
          // A blob that was stored again has a later use, and keeps its records.
          if (await metadata.forgetAccess(digest, at)) await this.#forgetRest(digest)
          this.#pendingDeletions.delete(digest)
        })
      } catch (error) {
        observer.storeFailed('metadata', error)
        return
      }
    }
  }
}
