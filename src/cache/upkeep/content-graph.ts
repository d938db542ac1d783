import { setImmediate as turn } from 'node:timers/promises'
import type { ContentIndex, ImageCursor } from '../../metadata/content-index.ts'
import type { Use } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'

/** What is on its way out: tags that do not hold their target any more, and repositories whose links do not count. */
export interface Leaving {
  tag(image: ImageCursor): boolean
  repository(repository: string): boolean
}

/** Questions to the index after which others get their turn: each is answered synchronously, inside. */
const questionsPerTurn = 100
const page = 500

/**
 * What is stored, and what of it needs what, as it was when first asked: one look at it, for one listing or one purge.
 * Only what is asked for is read.
 */
export class ContentGraph {
  readonly #index: ContentIndex
  readonly #uses = new Map<Digest, Use | undefined>()
  readonly #named = new Map<Digest, readonly Digest[]>()
  readonly #namers = new Map<Digest, readonly Digest[]>()
  readonly #tags = new Map<string, ReadonlyMap<Digest, readonly ImageCursor[]>>()
  #questions = 0

  constructor(index: ContentIndex) {
    this.#index = index
  }

  /** Undefined where it is not stored. */
  use(digest: Digest): Promise<Use | undefined> {
    return this.#remembered(this.#uses, digest, () => this.#index.use(digest))
  }

  /** What a manifest names, stored or not. */
  named(digest: Digest): Promise<readonly Digest[]> {
    return this.#remembered(this.#named, digest, () => this.#index.childrenOf(digest))
  }

  /** Everything stored that `root` leads to, itself too. */
  async closure(root: Digest): Promise<ReadonlyMap<Digest, Use>> {
    const found = new Map<Digest, Use>()
    const seen = new Set([root])
    // A set goes on to what is added while it is walked.
    for (const digest of seen) {
      const use = await this.use(digest)
      if (use) found.set(digest, use)
      for (const named of await this.named(digest)) seen.add(named)
    }
    return found
  }

  /** Of what is stored and `roots` lead to: that which nothing needs once `leaving` has left. */
  async neededOnlyBy(roots: Iterable<Digest>, leaving: Leaving): Promise<ReadonlyMap<Digest, Use>> {
    const going = new Map<Digest, Use>()
    const starts = new Set(roots)
    const waiting = [...starts]
    for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
      const use = await this.use(digest)
      if (!use || going.has(digest) || (await this.#isNeeded(digest, starts.has(digest), going, leaving))) continue
      going.set(digest, use)
      // Some are looked at for the second time now, when one more of those that need them is going.
      waiting.push(...(await this.named(digest)))
    }
    return going
  }

  async #isNeeded(
    digest: Digest,
    isRoot: boolean,
    going: ReadonlyMap<Digest, Use>,
    leaving: Leaving,
  ): Promise<boolean> {
    const namers = await this.#remembered(this.#namers, digest, () => this.#index.parentsOf(digest))
    for (const namer of namers) if (!going.has(namer) && (await this.use(namer))) return true
    // Only manifests have tags, and what names nothing is none, but for odd ones that were asked for by name.
    if (!isRoot && (await this.named(digest)).length === 0) return false
    const repositories = await this.#index.repositoriesOf(digest)
    for (const repository of repositories) {
      const tags = (await this.#tagsIn(repository)).get(digest) ?? []
      if (tags.some((tag) => !leaving.tag(tag))) return true
    }
    // What no manifest brought here was asked for by itself: by digest, through each of these.
    return !namers.some((namer) => going.has(namer)) && repositories.some((name) => !leaving.repository(name))
  }

  #tagsIn(repository: string): Promise<ReadonlyMap<Digest, readonly ImageCursor[]>> {
    return this.#remembered(this.#tags, repository, async () => {
      const tags = new Map<Digest, ImageCursor[]>()
      for (let after: ImageCursor | undefined; ; ) {
        const images = await this.#index.images(repository, after, page)
        const own = images.filter((image) => image.repository === repository)
        for (const image of own) {
          const others = tags.get(image.digest)
          if (others) others.push(image)
          else tags.set(image.digest, [image])
        }
        if (own.length < page) return tags
        after = own.at(-1)
      }
    })
  }

  async #remembered<Key, Value>(memory: Map<Key, Value>, key: Key, ask: () => Promise<Value>): Promise<Value> {
    const known = memory.get(key)
    if (known !== undefined || memory.has(key)) return known as Value
    this.#questions += 1
    if (this.#questions % questionsPerTurn === 0) await turn()
    const value = await ask()
    memory.set(key, value)
    return value
  }
}
