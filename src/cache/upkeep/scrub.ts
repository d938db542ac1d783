import type { Access } from '../../metadata/access-log.ts'
import type { Digest } from '../../oci/digest.ts'
import type { StoredBlob } from '../../storage/blob-store.ts'
import { integrityOf } from '../integrity.ts'
import type { ScrubReport } from '../observer.ts'
import { Pace, type PaceOptions } from './pace.ts'
import { pagesOf } from './pages.ts'
import type { RemovalOptions } from './removal.ts'

export interface ScrubOptions extends RemovalOptions {
  readonly now: () => number
  /** Restores the links and references of a stored manifest. */
  readonly relink: (blob: StoredBlob) => Promise<void>
  /** Fetches a digest again, from any repository that holds it. False where none has it now. */
  readonly replace: (digest: Digest) => Promise<boolean>
  readonly wait?: PaceOptions['wait']
}

/**
 * Compares everything that is stored with its digest, at a bounded rate. One run at a time.
 *
 *     a stored blob is      the scrub
 *     intact                corrects the record of its size, and makes one where there is none
 *     damaged               removes it, and fetches it again
 *     recorded, but gone    removes the record, and fetches it again
 */
export class Scrub {
  readonly #options: ScrubOptions
  readonly #stopped = new AbortController()
  #status: ScrubReport = { state: 'idle', checked: 0, damaged: 0, repaired: 0, finishedAt: null }
  #running: Promise<void> | undefined

  constructor(options: ScrubOptions) {
    this.#options = options
  }

  get status(): ScrubReport {
    return this.#status
  }

  /** Resolves when the run has ended. False, at once, where one is running. `rate` in bytes a second. */
  async run(rate: number): Promise<boolean> {
    if (this.#running || this.#stopped.signal.aborted) return false
    this.#status = { ...this.#status, state: 'running', checked: 0, damaged: 0, repaired: 0 }
    this.#running = this.#all(rate)
    await this.#running
    this.#running = undefined
    this.#status = { ...this.#status, state: 'idle', finishedAt: this.#options.now() }
    return true
  }

  /** Starts no further run. Resolves when the current one has ended, which is soon. */
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

  /** Corrects the record: a blob without one would never be evicted, and a wrong size is counted wrong. */
  async #record(blob: StoredBlob): Promise<void> {
    const { digest } = blob
    const { index, metadata, store, fills, now, relink } = this.#options
    const known = await index.lastAccess(digest)
    if (known?.size === blob.size) return
    await fills.exclude(digest, async () => {
      // It may have been evicted since it was listed.
      const stored = await store.stat(digest)
      if (!stored) return
      await metadata.recordAccesses([{ ...stored, at: (await index.lastAccess(digest))?.at ?? now() }])
      if (!known) await relink(blob)
    })
  }

  /** Repairs what is recorded and not stored. */
  async #findMissing(): Promise<void> {
    const { index, store, metadata } = this.#options
    // Writes the uses that wait in memory, so that the listing has all of them.
    await metadata.usage()
    const pages = pagesOf<Access>((after, limit) => index.accessesAfter(after?.digest, limit))
    for await (const accesses of pages) {
      for (const { digest } of accesses) {
        this.#stopped.signal.throwIfAborted()
        if (!(await store.stat(digest))) await this.#repair(digest)
      }
    }
  }

  async #repair(digest: Digest): Promise<void> {
    const { fills, observer, replace } = this.#options
    // Undefined where it is being filled: a request found the damage first.
    if (!(await fills.exclude(digest, () => this.#remove(digest)))) return
    this.#count('damaged')
    observer.damaged(digest)
    if (await replace(digest)) this.#count('repaired')
  }

  /** Checks again while nobody else can replace the blob. False where it was replaced, or removed with its record. */
  async #remove(digest: Digest): Promise<boolean> {
    const { store, index, metadata, forget } = this.#options
    const integrity = await integrityOf(store, digest, async () => this.#stopped.signal.throwIfAborted())
    await metadata.usage()
    const access = await index.lastAccess(digest)
    if (integrity === 'intact' || (integrity === 'absent' && !access)) return false
    forget(digest)
    await store.delete(digest)
    // Repeated, since the blob may have been used meanwhile: a blob that is gone must have no record.
    for (
      let last = access;
      last && !(await metadata.forgetAccess(digest, last.at));
      last = await index.lastAccess(digest)
    );
    return true
  }

  #count(what: 'checked' | 'damaged' | 'repaired'): void {
    this.#status = { ...this.#status, [what]: this.#status[what] + 1 }
  }
}
