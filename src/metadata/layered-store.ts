import type { Digest } from '../oci/digest.ts'
import { isComplete, isSame, mergeLink, newerTag } from './merge.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from './metadata-store.ts'
import { MetadataUnavailable } from './metadata-unavailable.ts'
import { tagKey } from './redis/keys.ts'
import { WriteBehind } from './write-behind.ts'

export interface LayeredStoreOptions {
  /**
   * One of the two stores failed, and the other was used alone. Not called when the shared store is unavailable: that
   * store reports it itself, once. Must not throw.
   */
  readonly onFailure: (error: unknown) => void
}

/** What one of the two stores answered, or its failure. */
type Answer<Value> = PromiseSettledResult<Value | undefined>

/**
 * A store that mirrors share, and this process's local store below it. Every write goes to both. The local store answers
 * while the shared one is unavailable, and refills it if it has lost something. Closing this store closes both.
 *
 * Writes to the shared store run in the background; a read repairs what they missed. So a tag that one mirror deleted
 * may come back from another, with its old `checkedAt`, until that mirror checks the tag too.
 */
export class LayeredStore implements MetadataStore {
  readonly #shared: MetadataStore
  readonly #local: MetadataStore
  readonly #report: (error: unknown) => void
  /** To the shared store. */
  readonly #writes: WriteBehind
  #deletions = 0

  constructor(shared: MetadataStore, local: MetadataStore, { onFailure }: LayeredStoreOptions) {
    this.#shared = shared
    this.#local = local
    this.#report = (error) => {
      if (!(error instanceof MetadataUnavailable)) onFailure(error)
    }
    this.#writes = new WriteBehind(this.#report)
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    const key = tagKey(repository, tag)
    // Until this process's last write has reached the shared store, that store's answer is older than the local one.
    if (this.#writes.isRunning(key)) return this.#local.tag(repository, tag)
    const deletions = this.#deletions
    const asked = [this.#shared.tag(repository, tag), this.#local.tag(repository, tag)] as const
    const [shared, local] = this.#values(...(await Promise.allSettled(asked)))
    const newer = newerTag(local, shared)
    if (!newer || deletions !== this.#deletions) return newer
    if (!isSame(newer, shared)) this.#writes.start(key, () => this.#shared.setTag(repository, tag, newer))
    if (!isSame(newer, local)) await this.#reported(this.#local.setTag(repository, tag, newer))
    return newer
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    this.#writes.start(tagKey(repository, tag), () => this.#shared.setTag(repository, tag, record))
    await this.#reported(this.#local.setTag(repository, tag, record))
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    this.#deletions += 1
    this.#writes.start(tagKey(repository, tag), () => this.#shared.deleteTag(repository, tag))
    await this.#reported(this.#local.deleteTag(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    const [localAnswer] = await Promise.allSettled([this.#local.link(repository, kind, digest)])
    if (localAnswer.status === 'fulfilled' && localAnswer.value && isComplete(localAnswer.value)) {
      // The shared store can add nothing, so do not wait for it. Write the link there in case it was lost.
      return this.#share(repository, localAnswer.value)
    }
    const [sharedAnswer] = await Promise.allSettled([this.#shared.link(repository, kind, digest)])
    const [shared, local] = this.#values(sharedAnswer, localAnswer)
    const link = local && shared ? mergeLink(local, shared) : (shared ?? local)
    if (link && !isSame(link, shared)) this.#share(repository, link)
    if (link && !isSame(link, local)) await this.#reported(this.#local.addLinks(repository, [link]))
    return link
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#writes.start(repository, () => this.#shared.addLinks(repository, links))
    await this.#reported(this.#local.addLinks(repository, links))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writes.allEnded()
    await this.#shared[Symbol.asyncDispose]()
    await this.#local[Symbol.asyncDispose]()
  }

  /** Reports a failure. Throws if both failed. */
  #values<Value>(shared: Answer<Value>, local: Answer<Value>): [shared: Value | undefined, local: Value | undefined] {
    if (shared.status === 'rejected' && local.status === 'rejected') throw local.reason
    for (const answer of [shared, local]) if (answer.status === 'rejected') this.#report(answer.reason)
    const values = [shared, local].map((answer) => (answer.status === 'fulfilled' ? answer.value : undefined))
    return [values[0], values[1]]
  }

  #share(repository: string, link: Link): Link {
    this.#writes.start(repository, () => this.#shared.addLinks(repository, [link]))
    return link
  }

  /** A local write that fails is only reported: the shared store has the value too. */
  async #reported(write: Promise<void>): Promise<void> {
    await write.catch(this.#report)
  }
}
