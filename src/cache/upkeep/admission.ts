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

/** The one way into the store: room is made first, and what has come is recorded as used in the same breath. */
export class Admission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Takes over the spool of a fill, which keeps everybody else away. Rejects where the store fails, or has no room. */
  async blob(digest: Digest, spool: Spool): Promise<void> {
    const { eviction, observer } = this.#options
    using room = await eviction.room(spool.written)
    await this.#adopt(digest, spool)
    room[Symbol.dispose]()
    observer.storeWorks()
  }

  /** As `blob`, where nobody else is kept away: not while an older copy is on its way out. */
  async manifest(digest: Digest, spool: Spool, note: ManifestNote): Promise<void> {
    const { eviction, fills, observer } = this.#options
    using room = await eviction.room(spool.written)
    const adopt = async (): Promise<true> => {
      await this.#adopt(digest, spool, note)
      room[Symbol.dispose]()
      return true
    }
    // What is being filled is not on its way out.
    if (!(await fills.exclude(digest, adopt))) await adopt()
    observer.storeWorks()
  }

  async #adopt(digest: Digest, spool: Spool, note?: ManifestNote): Promise<void> {
    const { store, metadata, now } = this.#options
    const { size } = await store.adopt(digest, spool, note)
    metadata.recordUse(digest, size, now())
  }
}
