import type { Link, LinkKind, MetadataStore, TagRecord, Usage, Use } from '../../src/metadata/metadata-store.ts'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { Gate } from '../support/gate.ts'

/** A real store in memory that can be made to fail or to be slow, and tells which of its methods were called. */
export class TroubledStore implements MetadataStore {
  readonly inner = SqliteStore.open(':memory:')
  readonly calls: (keyof MetadataStore)[] = []
  /** While set, every method fails, or the one named. */
  failure: Error | undefined
  failing: keyof MetadataStore | undefined
  /** While set, every method waits here before it does anything. */
  gate: Gate | undefined

  tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    return this.#meet('tag', () => this.inner.tag(repository, tag))
  }

  setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    return this.#meet('setTag', () => this.inner.setTag(repository, tag, record))
  }

  deleteTag(repository: string, tag: string): Promise<void> {
    return this.#meet('deleteTag', () => this.inner.deleteTag(repository, tag))
  }

  link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    return this.#meet('link', () => this.inner.link(repository, kind, digest))
  }

  addLinks(repository: string, links: readonly Link[]): Promise<void> {
    return this.#meet('addLinks', () => this.inner.addLinks(repository, links))
  }

  recordUses(uses: readonly Use[]): Promise<void> {
    return this.#meet('recordUses', () => this.inner.recordUses(uses))
  }

  coldest(limit: number): Promise<readonly Use[]> {
    return this.#meet('coldest', () => this.inner.coldest(limit))
  }

  forgetUse(digest: Digest, at: number): Promise<boolean> {
    return this.#meet('forgetUse', () => this.inner.forgetUse(digest, at))
  }

  usage(): Promise<Usage> {
    return this.#meet('usage', () => this.inner.usage())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.inner[Symbol.asyncDispose]()
  }

  async #meet<T>(name: keyof MetadataStore, work: () => Promise<T>): Promise<T> {
    this.calls.push(name)
    await this.gate?.pass()
    if (this.failure && (this.failing ?? name) === name) throw this.failure
    return work()
  }
}
