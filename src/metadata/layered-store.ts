import type { Digest } from '../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord, Usage, Use } from './metadata-store.ts'
import { MetadataUnavailable } from './metadata-unavailable.ts'
import { isComplete, isSame, laterTag, provenAgain } from './precedence.ts'
import { tagKey } from './redis/keys.ts'
import { WritesBehind } from './writes-behind.ts'

export interface LayeredStoreOptions {
  /**
   * One of the two failed, and the other went on alone. Not told that the shared one is unavailable: it tells so itself,
   * once. Must not throw.
   */
  readonly onFailure: (error: unknown) => void
}

/** What one of the two stores said, or that it failed. */
type Answer<Value> = PromiseSettledResult<Value | undefined>

/**
 * A store shared with other replicas, and this process's own beneath it, which is written through, answers while the
 * shared one is silent, and fills it again when it has lost something. Owns both.
 *
 * Writes to the shared store go on behind; what they miss is made up for when it is next read. A tag deleted by one
 * replica may so come back from another, with its old time of checking, until that one checks it in turn. Last uses are
 * this process's own: they are about its disk.
 */
export class LayeredStore implements MetadataStore {
  readonly #shared: MetadataStore
  readonly #local: MetadataStore
  readonly #report: (error: unknown) => void
  /** Those to the shared store. */
  readonly #writes: WritesBehind
  #deletions = 0

  constructor(shared: MetadataStore, local: MetadataStore, { onFailure }: LayeredStoreOptions) {
    this.#shared = shared
    this.#local = local
    this.#report = (error) => {
      if (!(error instanceof MetadataUnavailable)) onFailure(error)
    }
    this.#writes = new WritesBehind(this.#report)
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    const key = tagKey(repository, tag)
    // What this process wrote last is still on its way to the shared store, which would tell of what was before.
    if (this.#writes.isRunning(key)) return this.#local.tag(repository, tag)
    const deletions = this.#deletions
    const shared = settled(this.#shared.tag(repository, tag))
    const local = settled(this.#local.tag(repository, tag))
    const [told, known] = this.#heard(await shared, await local)
    const later = laterTag(known, told)
    if (!later || deletions !== this.#deletions) return later
    if (!isSame(later, told)) this.#writes.start(key, () => this.#shared.setTag(repository, tag, later))
    if (!isSame(later, known)) await this.#keep(this.#local.setTag(repository, tag, later))
    return later
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    this.#writes.start(tagKey(repository, tag), () => this.#shared.setTag(repository, tag, record))
    await this.#keep(this.#local.setTag(repository, tag, record))
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    this.#deletions += 1
    this.#writes.start(tagKey(repository, tag), () => this.#shared.deleteTag(repository, tag))
    await this.#keep(this.#local.deleteTag(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    const local = await settled(this.#local.link(repository, kind, digest))
    if (local.status === 'fulfilled' && local.value && isComplete(local.value)) {
      // Nothing to learn, so nothing to wait for; and the shared store has it again, should it have lost it.
      return this.#shareLink(repository, local.value)
    }
    const shared = await settled(this.#shared.link(repository, kind, digest))
    const [told, known] = this.#heard(shared, local)
    const link = known && told ? provenAgain(known, told) : (told ?? known)
    if (link && !isSame(link, told)) this.#shareLink(repository, link)
    if (link && !isSame(link, known)) await this.#keep(this.#local.addLinks(repository, [link]))
    return link
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#writes.start(repository, () => this.#shared.addLinks(repository, links))
    await this.#keep(this.#local.addLinks(repository, links))
  }

  recordUses(uses: readonly Use[]): Promise<void> {
    return this.#local.recordUses(uses)
  }

  coldest(limit: number): Promise<readonly Use[]> {
    return this.#local.coldest(limit)
  }

  forgetUse(digest: Digest, at: number): Promise<boolean> {
    return this.#local.forgetUse(digest, at)
  }

  usage(): Promise<Usage> {
    return this.#local.usage()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writes.allEnded()
    await this.#shared[Symbol.asyncDispose]()
    await this.#local[Symbol.asyncDispose]()
  }

  /** What both said. Throws where neither said anything. */
  #heard<Value>(shared: Answer<Value>, local: Answer<Value>): [shared: Value | undefined, local: Value | undefined] {
    if (shared.status === 'rejected' && local.status === 'rejected') throw local.reason
    for (const answer of [shared, local]) if (answer.status === 'rejected') this.#report(answer.reason)
    const values = [shared, local].map((answer) => (answer.status === 'fulfilled' ? answer.value : undefined))
    return [values[0], values[1]]
  }

  #shareLink(repository: string, link: Link): Link {
    this.#writes.start(repository, () => this.#shared.addLinks(repository, [link]))
    return link
  }

  /** A write here that fails is not lost while the shared store has it. */
  async #keep(write: Promise<void>): Promise<void> {
    await write.catch(this.#report)
  }
}

async function settled<Value>(answer: Promise<Value>): Promise<PromiseSettledResult<Value>> {
  const [result] = await Promise.allSettled([answer])
  return result
}
