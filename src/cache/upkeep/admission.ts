import type { MetadataTier } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobStore, ManifestNote } from '../../storage/blob-store.ts'
import type { Spool } from '../../storage/spool/spool.ts'
import type { Fills } from '../fill/fills.ts'
import type { Observer } from '../observer.ts'
import type { Eviction } from './eviction.ts'

export interface AdmissionOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly eviction: Pick<Eviction, 'room'>
  readonly fills: Pick<Fills, 'exclude'>
  readonly observer: Observer
  readonly now: () => number
}

/** The one way into the store: makes room, adopts the content, and records it as used now. */
export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Adopts the spool of a fill; nobody else works on that digest. Rejects where the store fails, or has no room. */
  async blob(digest: Digest, spool: Spool): Promise<void> {
    const { eviction, observer } = this.#options
    using room = await eviction.room(spool.written)
    await this.#adopt(digest, spool)
    room[Symbol.dispose]()
    observer.storeWorks()
  }

  /** Adopts a manifest. Waits where an older copy of it is being removed. Rejects as `blob` does. */
  async manifest(digest: Digest, spool: Spool, note: ManifestNote): Promise<void> {
    const { eviction, fills, observer } = this.#options
    using room = await eviction.room(spool.written)
    const adopt = async (): Promise<true> => {
      await this.#adopt(digest, spool, note)
      room[Symbol.dispose]()
      return true
    }
    // Undefined where the digest is being filled: then nobody removes it.
    if (!(await fills.exclude(digest, adopt))) await adopt()
    observer.storeWorks()
  }

  async #adopt(digest: Digest, spool: Spool, note?: ManifestNote): Promise<void> {
    const { store, metadata, now } = this.#options
    const { size } = await store.adopt(digest, spool, note)
    metadata.touch(digest, size, now())
  }
}
