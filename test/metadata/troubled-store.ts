import type { Access, AccessLog, Usage } from '../../src/metadata/access-log.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../../src/metadata/metadata-store.ts'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { Gate } from '../support/gate.ts'

type Method = keyof MetadataStore | keyof AccessLog

/** A real store in memory that can be made to fail or to be slow, and lists the methods that were called. */
export class TroubledStore implements MetadataStore, AccessLog {
  readonly inner = SqliteStore.open(':memory:')
  readonly calls: Method[] = []
  /** While set, every method fails, or the one named. */
  failure: Error | undefined
  failing: Method | undefined
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

  recordAccesses(accesses: readonly Access[]): Promise<void> {
    return this.#meet('recordAccesses', () => this.inner.index.recordAccesses(accesses))
  }

  forgetAccess(digest: Digest, at: number): Promise<boolean> {
    return this.#meet('forgetAccess', () => this.inner.index.forgetAccess(digest, at))
  }

  usage(): Promise<Usage> {
    return this.#meet('usage', () => this.inner.index.usage())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.inner[Symbol.asyncDispose]()
  }

  async #meet<T>(name: Method, work: () => Promise<T>): Promise<T> {
    this.calls.push(name)
    await this.gate?.pass()
    if (this.failure && (this.failing ?? name) === name) throw this.failure
    return work()
  }
}
