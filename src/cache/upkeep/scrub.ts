import type { ContentIndex } from '../../metadata/content-index.ts'
import type { MetadataTier, Use } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobStore, StoredBlob } from '../../storage/blob-store.ts'
import type { Fills } from '../fill/fills.ts'
import { integrityOf } from '../integrity.ts'
import type { Observer } from '../observer.ts'
import { Pace, type PaceOptions } from './pace.ts'
import { pagesOf } from './pages.ts'

export interface ScrubStatus {
  readonly state: 'idle' | 'running'
  /** Blobs looked at in this run, or the last. */
  readonly checked: number
  /** Of them: missing, of a wrong size, or of other bytes than their digest says. */
  readonly damaged: number
  /** Of those: fetched again. */
  readonly repaired: number
  /** Epoch milliseconds; null before the first run has ended. */
  readonly finishedAt: number | null
}

export interface ScrubOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: ContentIndex
  readonly fills: Pick<Fills, 'exclude'>
  readonly observer: Observer
  readonly now: () => number
  /** Memory of a digest goes: what is cached in front of the store. */
  readonly forget: (digest: Digest) => void
  /** Records again what a stored manifest proves and names. */
  readonly relink: (blob: StoredBlob) => Promise<void>
  /** Fetches a digest anew, from any repository that holds it. False where none can be had now. */
  readonly replace: (digest: Digest) => Promise<boolean>
  readonly wait?: PaceOptions['wait']
}

/**
 * Reads everything that is stored and compares it with its digest, at a bounded rate; takes out what is wrong, fetches
 * it anew, and puts the records of last uses and sizes right against the disk. One run at a time.
 */
export class Scrub {
  readonly #options: ScrubOptions
  readonly #stopped = new AbortController()
  #status: ScrubStatus = { state: 'idle', checked: 0, damaged: 0, repaired: 0, finishedAt: null }
  #running: Promise<void> | undefined

  constructor(options: ScrubOptions) {
    this.#options = options
  }

  get status(): ScrubStatus {
    return this.#status
  }

  /** Resolves when the run has ended. False, at once, where one is under way. `rate` in bytes a second. */
  async run(rate: number): Promise<boolean> {
    if (this.#running || this.#stopped.signal.aborted) return false
    this.#status = { ...this.#status, state: 'running', checked: 0, damaged: 0, repaired: 0 }
    this.#running = this.#all(rate)
    await this.#running
    this.#running = undefined
    this.#status = { ...this.#status, state: 'idle', finishedAt: this.#options.now() }
    return true
  }

  /** No further runs; resolves when one that is under way has ended, soon. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    await this.#running
  }

  async #all(rate: number): Promise<void> {
    const { store, now, observer, wait } = this.#options
    const { signal } = this.#stopped
    const pace = new Pace({ rate, now, signal, ...(wait && { wait }) })
    try {
      for await (const blob of store.list()) {
        signal.throwIfAborted()
        await this.#check(blob, pace)
      }
      await this.#findMissing()
    } catch (error) {
      if (!signal.aborted) observer.storeFailed('content', error)
    }
  }

  async #check(blob: StoredBlob, pace: Pace): Promise<void> {
    const integrity = await integrityOf(this.#options.store, blob.digest, (bytes) => pace.spent(bytes))
    this.#count('checked')
    if (integrity === 'intact') await this.#record(blob)
    if (integrity === 'damaged') await this.#repair(blob.digest)
  }

  /** A blob without a record would never be evicted; one with a wrong size would not be counted right. */
  async #record(blob: StoredBlob): Promise<void> {
    const { digest } = blob
    const { index, metadata, store, fills, now, relink } = this.#options
    const known = await index.use(digest)
    if (known?.size === blob.size) return
    // It may have been evicted since it was listed.
    await fills.exclude(digest, async () => {
      const stored = await store.stat(digest)
      if (!stored) return
      await metadata.recordUses([{ ...stored, at: (await index.use(digest))?.at ?? now() }])
      if (!known) await relink(blob)
    })
  }

  /** What is recorded and not there. */
  async #findMissing(): Promise<void> {
    const { index, store, metadata } = this.#options
    // Writes the last uses that wait, so that all are seen.
    await metadata.usage()
    const pages = pagesOf<Use>((after, limit) => index.usesAfter(after?.digest, limit))
    for await (const uses of pages) {
      for (const { digest } of uses) {
        this.#stopped.signal.throwIfAborted()
        if (!(await store.stat(digest))) await this.#repair(digest)
      }
    }
  }

  async #repair(digest: Digest): Promise<void> {
    const { fills, observer, replace } = this.#options
    // Where it is being filled at this moment, somebody missed it before.
    if (!(await fills.exclude(digest, () => this.#takeOut(digest)))) return
    this.#count('damaged')
    observer.damaged(digest)
    if (await replace(digest)) this.#count('repaired')
  }

  /** Looks again while nobody can replace it: false where somebody has, or where all is forgotten by now. */
  async #takeOut(digest: Digest): Promise<boolean> {
    const { store, index, metadata, forget } = this.#options
    const integrity = await integrityOf(store, digest, async () => this.#stopped.signal.throwIfAborted())
    await metadata.usage()
    const use = await index.use(digest)
    if (integrity === 'intact' || (integrity === 'absent' && !use)) return false
    forget(digest)
    await store.delete(digest)
    // Used since it was looked at or not: what is gone has no use.
    for (let last = use; last && !(await metadata.forgetUse(digest, last.at)); last = await index.use(digest));
    return true
  }

  #count(what: 'checked' | 'damaged' | 'repaired'): void {
    this.#status = { ...this.#status, [what]: this.#status[what] + 1 }
  }
}
