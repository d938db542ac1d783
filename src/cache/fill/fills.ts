import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { OpenBlob } from '../../storage/blob-store.ts'
import { type Integrity, integrityOf } from '../integrity.ts'
import { Fill, type FillDependencies } from './fill.ts'
import { Readers, watched } from './readers.ts'
import type { Source } from './sources.ts'
import { Suspects } from './suspects.ts'

export interface FillsOptions {
  readonly dependencies: FillDependencies
  /** How many fills may run that nobody follows. */
  readonly unfollowed: number
}

/**
 * Where a blob's bytes are to be had: the store, or a fill that this look-up began or joined. Whoever gets a blob owns
 * it; whoever gets a fill calls `leave` when it follows, or does not want to any more.
 */
export type Located =
  | { readonly kind: 'stored'; readonly blob: OpenBlob }
  | { readonly kind: 'fill'; readonly fill: Fill; readonly joined: boolean; readonly leave: () => void }

/** Stored blobs whose size is remembered. */
const mostSizes = 16_384

/**
 * The running fills, one a digest.
 *
 * A look-up enters the digest before it looks into the store, and a fill is forgotten only after its blob is there: so
 * there is no moment with neither fill nor blob, and never two fills of one digest.
 */
export class Fills implements AsyncDisposable {
  readonly suspects = new Suspects()
  readonly #options: FillsOptions
  readonly #entries = new Map<Digest, Fill | Promise<Fill | undefined>>()
  readonly #running = new Set<Fill>()
  /** Those that have not ended, given up or not. */
  readonly #unended = new Set<Fill>()
  readonly #readers = new Readers()
  /** Digests that `exclude` has locked. */
  readonly #excluded = new Set<Digest>()
  /** Damaged blobs that the store does not let go of: as good as absent, until they are overwritten. */
  readonly #condemned = new Set<Digest>()
  /** Of stored blobs: sizes that were verified, or that file and record agree on. They are not checked again. */
  readonly #sizes = new LRUCache<Digest, number>({ max: mostSizes })
  #stopping = false

  constructor(options: FillsOptions) {
    this.#options = options
  }

  get running(): ReadonlySet<Fill> {
    return this.#running
  }

  /** Begins a fill from `source` where there is neither fill nor blob. Rejects with RegistryError while it stops. */
  async locate(digest: Digest, source: Source): Promise<Located> {
    for (;;) {
      const entry = this.#entries.get(digest)
      if (entry instanceof Fill) return joined(entry)
      if (entry === undefined) return await this.#lookUp(digest, source)
      const fill = await entry
      if (fill && this.#running.has(fill)) return joined(fill)
      // Each for itself: those who want a stored blob need not queue for it.
      const blob = this.#excluded.has(digest) ? undefined : await this.#open(digest, source.size)
      if (blob && blob !== 'damaged') return { kind: 'stored', blob }
    }
  }

  /**
   * A stored blob of more than `above` bytes that opens without waiting: nothing fills, looks up or excludes it, and its
   * size is known. Undefined means: ask `locate`.
   */
  tryCached(digest: Digest, above: number): OpenBlob | undefined {
    const size = this.#sizes.get(digest) ?? 0
    if (size <= above || this.#entries.has(digest) || this.#condemned.has(digest)) return undefined
    const blob = this.#options.dependencies.store.tryCached(digest)
    if (blob?.size === size) return watched(blob, this.#readers.enter(digest))
    void blob?.close()
    return undefined
  }

  /** Bytes of a stored blob; undefined where it is absent, damaged, or the store fails. */
  async storedSize(digest: Digest): Promise<number | undefined> {
    const blob = await this.#open(digest, undefined)
    if (blob === undefined || blob === 'damaged') return undefined
    await blob.close()
    return blob.size
  }

  /** Meanwhile a stored blob counts as read. Waits where it is on its way out. */
  async reading<T>(digest: Digest, work: () => Promise<T>): Promise<T> {
    while (this.#excluded.has(digest)) await this.#entries.get(digest)
    const leave = this.#readers.enter(digest)
    try {
      return await work()
    } finally {
      leave()
    }
  }

  /** Whether a stored blob is being read, or opened. */
  isRead(digest: Digest): boolean {
    return this.#readers.has(digest)
  }

  /**
   * Does something to a stored blob while nobody opens, fills or adopts it: they wait. Undefined, and nothing done, where
   * it is being filled. Who has opened it before goes on reading.
   */
  async exclude<T>(digest: Digest, work: () => Promise<T>): Promise<T | undefined> {
    for (let entry = this.#entries.get(digest); entry; entry = this.#entries.get(digest)) {
      if (entry instanceof Fill) return undefined
      await entry
    }
    const excluded = Promise.withResolvers<undefined>()
    this.#entries.set(digest, excluded.promise)
    this.#excluded.add(digest)
    try {
      return await work()
    } finally {
      this.#excluded.delete(digest)
      this.#entries.delete(digest)
      excluded.resolve(undefined)
    }
  }

  /** Takes a damaged blob out, if it still is, so that the next look-up fills it. Rejects where the store fails. */
  async discard(digest: Digest): Promise<void> {
    await this.exclude(digest, async () => {
      // Others may have found the same, and have had it replaced.
      const { store } = this.#options.dependencies
      if ((await integrityOf(store, digest, async () => undefined)) === 'damaged') await this.#takeOut(digest)
    })
  }

  /** Abandons every fill and waits for them to end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    const ending = [...this.#unended].map((fill) => fill.ended)
    for (const fill of this.#running) fill.abandon(stopping())
    await Promise.all(ending)
  }

  async #lookUp(digest: Digest, source: Source): Promise<Located> {
    const looked = Promise.withResolvers<Fill | undefined>()
    this.#entries.set(digest, looked.promise)
    const found = await this.#open(digest, source.size)
    // As good as absent, and replaced by this very request.
    const blob = found === 'damaged' ? await this.#takeOut(digest) : found
    if (blob || this.#stopping) {
      this.#entries.delete(digest)
      looked.resolve(undefined)
      if (blob) return { kind: 'stored', blob }
      throw stopping()
    }
    const fill = this.#begin(digest, source)
    looked.resolve(fill)
    return { kind: 'fill', fill, joined: false, leave: fill.attend() }
  }

  /** Of no use to anybody, and gone if the store lets go of it; what takes its place overwrites it if not. */
  async #takeOut(digest: Digest): Promise<undefined> {
    const { store, observer } = this.#options.dependencies
    observer.damaged(digest)
    this.#condemned.add(digest)
    try {
      await store.delete(digest)
      this.#condemned.delete(digest)
    } catch (error) {
      observer.storeFailed('content', error)
    }
  }

  /**
   * A store that fails is like a store without the blob: the fill passes through where it cannot be written either.
   * `named` is the size that a manifest gives it, if one does.
   */
  async #open(digest: Digest, named: number | undefined): Promise<OpenBlob | 'damaged' | undefined> {
    if (this.#condemned.has(digest)) return 'damaged'
    let blob: OpenBlob | undefined
    try {
      blob = await this.#watch(digest)
      if (!blob) return undefined
      const integrity = await this.#integrityOf(digest, blob.size, named)
      if (integrity === 'intact') {
        this.#sizes.set(digest, blob.size)
        return blob
      }
      await blob.close()
      return integrity === 'damaged' ? integrity : undefined
    } catch (error) {
      await blob?.close()
      if (!this.#stopping) this.#options.dependencies.observer.storeFailed('content', error)
      return undefined
    }
  }

  /**
   * A file may have been cut short, by a crash of the machine or by hand. Its recorded size tells, or the size that a
   * manifest gives; without either, as after a loss of the metadata, the bytes are compared with the digest.
   */
  async #integrityOf(digest: Digest, size: number, named: number | undefined): Promise<Integrity> {
    const { store, sizeOf } = this.#options.dependencies
    // What has just been stored may not be recorded yet.
    const known = this.#sizes.get(digest) ?? (await sizeOf(digest))
    if (known !== undefined) return known === size ? 'intact' : 'damaged'
    if (named === size) return 'intact'
    return await integrityOf(store, digest, async () => {
      if (this.#stopping) throw stopping()
    })
  }

  async #watch(digest: Digest): Promise<OpenBlob | undefined> {
    const leave = this.#readers.enter(digest)
    try {
      const blob = await this.#options.dependencies.store.open(digest)
      if (blob) return watched(blob, leave)
    } catch (error) {
      leave()
      throw error
    }
    leave()
    return undefined
  }

  #begin(digest: Digest, source: Source): Fill {
    const fill: Fill = new Fill(digest, source, this.#options.dependencies, {
      attendanceChanged: () => this.#limitUnfollowed(),
      read: () => this.#readers.enter(digest),
      judged: (verdict) => this.suspects.judge(digest, verdict),
      closed: () => this.#forget(fill),
    })
    this.#entries.set(digest, fill)
    this.#running.add(fill)
    this.#unended.add(fill)
    void fill.ended.then(() => this.#unended.delete(fill))
    return fill
  }

  #limitUnfollowed(): void {
    const unfollowed = [...this.#running].filter((fill) => fill.isUnfollowed)
    unfollowed.sort((a, b) => a.written - b.written)
    for (const fill of unfollowed.slice(0, Math.max(0, unfollowed.length - this.#options.unfollowed))) {
      this.#forget(fill)
      fill.abandon(new Error('nobody follows the fill, and others need its place'))
    }
  }

  #forget(fill: Fill): void {
    if (fill.end === 'stored') {
      this.#condemned.delete(fill.digest)
      this.#sizes.set(fill.digest, fill.written)
    }
    this.#running.delete(fill)
    if (this.#entries.get(fill.digest) === fill) this.#entries.delete(fill.digest)
  }
}

function joined(fill: Fill): Located {
  return { kind: 'fill', fill, joined: true, leave: fill.attend() }
}

function stopping(): RegistryError {
  return new RegistryError('UNAVAILABLE', { detail: 'the mirror is stopping' })
}
