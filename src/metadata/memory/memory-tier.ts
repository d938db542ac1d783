import type { Digest } from '../../oci/digest.ts'
import type { AccessLog } from '../access-log.ts'
import { isComplete, mergeLink, newerTag } from '../merge.ts'
import type { Link, LinkKind, MetadataStore, MetadataTier, TagRecord } from '../metadata-store.ts'
import { WriteBehind } from '../write-behind.ts'
import { AccessBuffer, type AccessBufferOptions } from './access-buffer.ts'
import { KeyInterner } from './key-interner.ts'
import { type CacheBound, RecordCache } from './record-cache.ts'

export interface MemoryTierOptions extends AccessBufferOptions {
  /** Closed with the tier. */
  readonly store: MetadataStore
  /** Of this process's data folder. It may share the store's database: it is not used after the store is closed. */
  readonly accesses: AccessLog
  /** The store or the log failed, and this process goes on with what it has in memory. Must not throw. */
  readonly onFailure: (error: unknown) => void
  readonly tags?: CacheBound
  readonly links?: CacheBound
}

const mebibyte = 2 ** 20
const tagBound: CacheBound = { entries: 20_000, bytes: 16 * mebibyte }
const linkBound: CacheBound = { entries: 100_000, bytes: 64 * mebibyte }

/**
 * Bounded memory in front of a store of tags and links, and of the log of accesses.
 *
 * A record in memory is confirmed when the store has returned it or has finished writing it. An unconfirmed record (its
 * write is running, or has failed) stays in memory even if the store does not have it.
 */
export class MemoryTier extends AccessBuffer implements MetadataTier {
  readonly #store: MetadataStore
  readonly #onFailure: (error: unknown) => void
  readonly #tags: RecordCache<TagRecord>
  readonly #links: RecordCache<Link>
  readonly #tagKeys = new KeyInterner(tagKey)
  readonly #linkKeys = {
    manifest: new KeyInterner((repository, digest) => linkKey(repository, 'manifest', digest)),
    blob: new KeyInterner((repository, digest) => linkKey(repository, 'blob', digest)),
  }
  readonly #writes: WriteBehind
  #deletions = 0

  constructor({ store, accesses, tags = tagBound, links = linkBound, ...options }: MemoryTierOptions) {
    super(accesses, options)
    this.#store = store
    this.#onFailure = options.onFailure
    this.#tags = new RecordCache(tags)
    this.#links = new RecordCache(links)
    this.#writes = new WriteBehind(options.onFailure)
  }

  peekTag(repository: string, tag: string): TagRecord | undefined {
    return this.#tags.get(this.#tagKeys.of(repository, tag))?.value
  }

  peekLink(repository: string, kind: LinkKind, digest: Digest): Link | undefined {
    return this.#links.get(this.#linkKeys[kind].of(repository, digest))?.value
  }

  forgetLinks(digest: Digest): void {
    this.#deletions += 1
    this.#links.deleteDigest(digest)
  }

  forgetRepository(repository: string): void {
    this.#deletions += 1
    const prefix = keyPrefix(repository)
    this.#links.deletePrefix(prefix)
    this.#tags.deletePrefix(prefix)
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    const key = tagKey(repository, tag)
    await this.#writes.ended(key)
    const before = this.#tags.get(key)
    const deletions = this.#deletions
    let stored: TagRecord | undefined
    try {
      stored = await this.#store.tag(repository, tag)
    } catch (error) {
      return this.#fallBack(this.#tags.get(key)?.value, error)
    }
    const known = this.#tags.get(key)
    if (stored) {
      const newer = newerTag(known?.value, stored)
      // If a tag was deleted during the read, this one may be it: do not put it back.
      if (newer === stored && deletions === this.#deletions) this.#tags.set(key, stored, 'confirmed')
      return newer
    }
    if (known && !known.confirmed) return known.value
    // Another mirror has deleted it.
    if (known === before) this.#tags.delete(key)
    return undefined
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    const key = tagKey(repository, tag)
    const newer = newerTag(this.#tags.get(key)?.value, record)
    const known = newer === record ? this.#tags.set(key, record, 'unconfirmed') : undefined
    this.#writes.start(key, async () => {
      await this.#store.setTag(repository, tag, record)
      if (known && this.#tags.get(key) === known) this.#tags.set(key, record, 'confirmed')
    })
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    const key = tagKey(repository, tag)
    this.#deletions += 1
    this.#tags.delete(key)
    this.#writes.start(key, () => this.#store.deleteTag(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    const key = linkKey(repository, kind, digest)
    const known = this.#links.get(key)
    if (known?.confirmed) return known.value
    const deletions = this.#deletions
    await this.#writes.ended(repository)
    let stored: Link | undefined
    try {
      stored = await this.#store.link(repository, kind, digest)
    } catch (error) {
      return this.#fallBack(this.#links.get(key)?.value, error)
    }
    const proof = this.#links.get(key)?.value
    const link = proof ? mergeLink(stored, proof) : stored
    // As in `tag`.
    if (link && deletions === this.#deletions) this.#links.set(key, link, 'confirmed')
    return link
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#addLinks(repository, links, 'all')
  }

  async restoreLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#addLinks(repository, links, 'known')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
    await this.#writes.allEnded()
    await this.#store[Symbol.asyncDispose]()
  }

  /** Keeps in memory `all` links, or only those that are `known` there already. */
  #addLinks(repository: string, links: readonly Link[], kept: 'all' | 'known'): void {
    for (const proof of links) {
      const key = linkKey(repository, proof.kind, proof.digest)
      const known = this.#links.get(key)
      if (!known && kept === 'known') continue
      const link = mergeLink(known?.value, proof)
      // Unconfirmed while the store may have a size, or `public`, that neither this proof nor memory has.
      this.#links.set(key, link, known?.confirmed || isComplete(link) ? 'confirmed' : 'unconfirmed')
    }
    if (links.length > 0) this.#writes.start(repository, () => this.#store.addLinks(repository, links))
  }

  #fallBack<Value>(value: Value | undefined, error: unknown): Value {
    if (value === undefined) throw error
    this.#onFailure(error)
    return value
  }
}

/** Every key of a repository begins with it, and no key of another one. */
function keyPrefix(repository: string): string {
  return `${repository}\n`
}

function tagKey(repository: string, tag: string): string {
  return `${keyPrefix(repository)}${tag}`
}

function linkKey(repository: string, kind: LinkKind, digest: string): string {
  return `${keyPrefix(repository)}${kind}\n${digest}`
}
