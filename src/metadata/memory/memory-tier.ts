import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, MetadataTier, TagRecord, Usage, Use } from '../metadata-store.ts'
import { isComplete, laterTag, provenAgain } from '../precedence.ts'
import { WritesBehind } from '../writes-behind.ts'
import { MadeKeys } from './made-keys.ts'
import { type Bound, Recent } from './recent.ts'
import { UseBatch, type UseBatchOptions } from './use-batch.ts'

export interface MemoryTierOptions {
  /** The store behind failed, and this process goes on with what it knows. Must not throw. */
  readonly onFailure: (error: unknown) => void
  readonly tags?: Bound
  readonly links?: Bound
  readonly uses?: Pick<UseBatchOptions, 'interval' | 'size' | 'most'>
  /** Milliseconds that a use may wait whose digest has been recorded before. */
  readonly renewal?: number
}

const mebibyte = 2 ** 20
const tagBound: Bound = { entries: 20_000, bytes: 16 * mebibyte }
const part = 1000
const linkBound: Bound = { entries: 100_000, bytes: 64 * mebibyte }
/** Digests that are known to be recorded. */
const mostRecorded = 16_384

/**
 * A bounded memory in front of a store, which it owns and closes.
 *
 * A value is settled once the store behind has been heard about it. An unsettled one (the write is on its way, or has
 * failed) is not given up because the store does not know it.
 */
export class MemoryTier implements MetadataTier {
  readonly #inner: MetadataStore
  readonly #onFailure: (error: unknown) => void
  readonly #tags: Recent<TagRecord>
  readonly #links: Recent<Link>
  readonly #tagKeys = new MadeKeys(tagKey)
  readonly #linkKeys = {
    manifest: new MadeKeys((repository, digest) => linkKey(repository, 'manifest', digest)),
    blob: new MadeKeys((repository, digest) => linkKey(repository, 'blob', digest)),
  }
  /** Uses of what is not known to be recorded, and soon is. */
  readonly #uses: UseBatch
  /** The others, which tell no more than that it is still in use: each costs the disk some pages, and few look at it. */
  readonly #renewals: UseBatch
  /** Sizes as recorded. */
  readonly #recorded = new LRUCache<Digest, number>({ max: mostRecorded })
  readonly #writes: WritesBehind
  #deletions = 0

  constructor(
    inner: MetadataStore,
    { onFailure, tags = tagBound, links = linkBound, uses = {}, renewal = 60_000 }: MemoryTierOptions,
  ) {
    this.#inner = inner
    this.#onFailure = onFailure
    this.#tags = new Recent(tags)
    this.#links = new Recent(links)
    const write = (batch: readonly Use[]): Promise<void> => this.#write(batch)
    this.#uses = new UseBatch({ ...uses, onFailure, write })
    this.#renewals = new UseBatch({ ...uses, interval: renewal, size: mostRecorded, onFailure, write })
    this.#writes = new WritesBehind(onFailure)
  }

  recentTag(repository: string, tag: string): TagRecord | undefined {
    return this.#tags.get(this.#tagKeys.of(repository, tag))?.value
  }

  recentLink(repository: string, kind: LinkKind, digest: Digest): Link | undefined {
    return this.#links.get(this.#linkKeys[kind].of(repository, digest))?.value
  }

  recordUse(digest: Digest, size: number, at: number): void {
    const batch = this.#recorded.get(digest) === size ? this.#renewals : this.#uses
    batch.add({ digest, size, at })
  }

  forgetLinks(digest: Digest): void {
    this.#deletions += 1
    this.#links.deleteDigest(digest)
  }

  forgetRepository(repository: string): void {
    this.#deletions += 1
    const beginning = keysBegin(repository)
    this.#links.deleteBeginning(beginning)
    this.#tags.deleteBeginning(beginning)
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    const key = tagKey(repository, tag)
    await this.#writes.ended(key)
    const before = this.#tags.get(key)
    const deletions = this.#deletions
    let stored: TagRecord | undefined
    try {
      stored = await this.#inner.tag(repository, tag)
    } catch (error) {
      return this.#fallBack(this.#tags.get(key)?.value, error)
    }
    const known = this.#tags.get(key)
    if (stored) {
      const later = laterTag(known?.value, stored)
      // A tag deleted while the store was being asked must not come back.
      if (later === stored && deletions === this.#deletions) this.#tags.set(key, stored, 'settled')
      return later
    }
    if (known && !known.settled) return known.value
    // Another replica has deleted it.
    if (known === before) this.#tags.delete(key)
    return undefined
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    const key = tagKey(repository, tag)
    const later = laterTag(this.#tags.get(key)?.value, record)
    const known = later === record ? this.#tags.set(key, record, 'unsettled') : undefined
    this.#writes.start(key, async () => {
      await this.#inner.setTag(repository, tag, record)
      if (known && this.#tags.get(key) === known) this.#tags.set(key, record, 'settled')
    })
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    const key = tagKey(repository, tag)
    this.#deletions += 1
    this.#tags.delete(key)
    this.#writes.start(key, () => this.#inner.deleteTag(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    const key = linkKey(repository, kind, digest)
    const known = this.#links.get(key)
    if (known?.settled) return known.value
    const deletions = this.#deletions
    await this.#writes.ended(repository)
    let stored: Link | undefined
    try {
      stored = await this.#inner.link(repository, kind, digest)
    } catch (error) {
      return this.#fallBack(this.#links.get(key)?.value, error)
    }
    const proof = this.#links.get(key)?.value
    const link = proof ? provenAgain(stored, proof) : stored
    // As with tags.
    if (link && deletions === this.#deletions) this.#links.set(key, link, 'settled')
    return link
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#addLinks(repository, links, 'all')
  }

  async restoreLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#addLinks(repository, links, 'known')
  }

  async recordUses(uses: readonly Use[]): Promise<void> {
    // By parts: a whole store's uses, told at once, are more than the batch keeps waiting.
    for (let start = 0; start < uses.length; start += part) {
      for (const use of uses.slice(start, start + part)) this.#uses.add(use)
      await this.#uses.flush()
    }
  }

  async coldest(limit: number): Promise<readonly Use[]> {
    await this.#flush()
    const uses = await this.#inner.coldest(limit)
    return uses.filter(({ digest, at }) => (this.#latest(digest) ?? at) <= at)
  }

  async forgetUse(digest: Digest, at: number): Promise<boolean> {
    await this.#flush()
    if ((this.#latest(digest) ?? at) > at) return false
    if (!(await this.#inner.forgetUse(digest, at))) return false
    this.#recorded.delete(digest)
    // A use from meanwhile brings the blob back, when it is written.
    this.#uses.withdraw(digest, at)
    this.#renewals.withdraw(digest, at)
    return this.#latest(digest) === undefined
  }

  async usage(): Promise<Usage> {
    await this.#flush()
    return this.#inner.usage()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#uses.close(), this.#renewals.close()])
    await this.#writes.allEnded()
    await this.#inner[Symbol.asyncDispose]()
  }

  async #write(uses: readonly Use[]): Promise<void> {
    await this.#inner.recordUses(uses)
    for (const { digest, size } of uses) this.#recorded.set(digest, size)
  }

  async #flush(): Promise<void> {
    await Promise.all([this.#uses.flush(), this.#renewals.flush()])
  }

  /** When a use is waiting to be written, its time. */
  #latest(digest: Digest): number | undefined {
    const [use, renewal] = [this.#uses.latest(digest), this.#renewals.latest(digest)]
    return use === undefined || renewal === undefined ? (use ?? renewal) : Math.max(use, renewal)
  }

  #addLinks(repository: string, links: readonly Link[], kept: 'all' | 'known'): void {
    for (const proof of links) {
      const key = linkKey(repository, proof.kind, proof.digest)
      const known = this.#links.get(key)
      if (!known && kept === 'known') continue
      const link = provenAgain(known?.value, proof)
      // The store may know of a size, or that it is public, where neither this proof nor memory does.
      this.#links.set(key, link, known?.settled || isComplete(link) ? 'settled' : 'unsettled')
    }
    if (links.length > 0) this.#writes.start(repository, () => this.#inner.addLinks(repository, links))
  }

  #fallBack<Value>(value: Value | undefined, error: unknown): Value {
    if (value === undefined) throw error
    this.#onFailure(error)
    return value
  }
}

/** Of every tag and link of a repository, and of no other. */
function keysBegin(repository: string): string {
  return `${repository}\n`
}

function tagKey(repository: string, tag: string): string {
  return `${keysBegin(repository)}${tag}`
}

function linkKey(repository: string, kind: LinkKind, digest: string): string {
  return `${keysBegin(repository)}${kind}\n${digest}`
}
