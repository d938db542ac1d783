import type { ContentIndex } from '../../metadata/content-index.ts'
import type { MetadataTier, Use } from '../../metadata/metadata-store.ts'
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
  /** Memory of a digest goes: what is cached in front of the store. */
  readonly forget: (digest: Digest) => void
}

/**
 * Taking blobs out of the store, with all that is known of them.
 *
 * A blob is forgotten first, only if its last use is still the one that was looked at, and then unlinked; meanwhile its
 * digest is held, and nobody opens or adopts it.
 */
export class Removal {
  readonly #options: RemovalOptions
  /** What is gone while its record is not: a disk that is full takes no deletion of a record either. */
  readonly #owed = new Map<Digest, Use>()

  constructor(options: RemovalOptions) {
    this.#options = options
  }

  /** Bytes that are recorded and gone. */
  get owed(): number {
    return [...this.#owed.values()].reduce((sum, { size }) => sum + size, 0)
  }

  isOwed({ digest, at }: Use): boolean {
    return this.#owed.get(digest)?.at === at
  }

  /** False where it is being read or filled, or was used meanwhile. */
  async evict(use: Use): Promise<boolean> {
    const { fills } = this.#options
    await this.#settle()
    const evicted = await fills.exclude(use.digest, async () => !fills.isRead(use.digest) && this.#takeOut(use))
    return evicted ?? false
  }

  /** False where it is being filled, or was used meanwhile; who reads it reads on. */
  async force(use: Use): Promise<boolean> {
    return (await this.#options.fills.exclude(use.digest, () => this.#takeOut(use))) ?? false
  }

  async #takeOut(use: Use): Promise<boolean> {
    const { store, metadata, forget } = this.#options
    // Before anything else: who wants it from now on looks for it, and waits.
    forget(use.digest)
    if (!(await this.#forgetUse(use))) return false
    try {
      await store.delete(use.digest)
    } catch (error) {
      this.#owed.delete(use.digest)
      await metadata.recordUses([use])
      throw error
    }
    if (!this.#owed.has(use.digest)) await this.#forgetRest(use.digest)
    return true
  }

  async #forgetUse(use: Use): Promise<boolean> {
    const { metadata, index, observer } = this.#options
    try {
      return await metadata.forgetUse(use.digest, use.at)
    } catch (error) {
      observer.storeFailed('metadata', error)
      if ((await index.use(use.digest))?.at !== use.at) return false
      this.#owed.set(use.digest, use)
      return true
    }
  }

  async #forgetRest(digest: Digest): Promise<void> {
    const { index, forget, observer } = this.#options
    try {
      await index.deleteReferences(digest)
      await index.deleteLinks(digest)
    } catch (error) {
      // No harm: what is not stored claims nothing, and a link stays a fact.
      observer.storeFailed('metadata', error)
    }
    // Links that were read meanwhile.
    forget(digest)
  }

  /** Forgets what is owed, as soon as that can be written. */
  async #settle(): Promise<void> {
    const { metadata, fills, observer } = this.#options
    for (const { digest, at } of this.#owed.values()) {
      try {
        await fills.exclude(digest, async () => {
          // Not where it has been stored anew, and used.
          if (await metadata.forgetUse(digest, at)) await this.#forgetRest(digest)
          this.#owed.delete(digest)
        })
      } catch (error) {
        observer.storeFailed('metadata', error)
        return
      }
    }
  }
}
