import type { Access } from '../../metadata/access-log.ts'
import type { ImageCursor } from '../../metadata/content-index.ts'
import type { Digest } from '../../oci/digest.ts'
import { GraphReader, walk } from './graph-reader.ts'

/** What is being removed: tags that no longer count, and repositories whose links no longer count. */
export interface Leaving {
  tag(image: ImageCursor): boolean
  repository(repository: string): boolean
}

/**
 * A snapshot of the graph of content, for one listing or one purge: every answer is remembered as it was when first
 * asked for. Reads only what is asked for.
 */
export class ContentGraph extends GraphReader {
  readonly #accesses = new Map<Digest, Access | undefined>()
  readonly #children = new Map<Digest, readonly Digest[]>()
  readonly #parents = new Map<Digest, readonly Digest[]>()
  readonly #tags = new Map<string, ReadonlyMap<Digest, readonly ImageCursor[]>>()

  override lastAccess(digest: Digest): Promise<Access | undefined> {
    return remembered(this.#accesses, digest, () => super.lastAccess(digest))
  }

  override childrenOf(digest: Digest): Promise<readonly Digest[]> {
    return remembered(this.#children, digest, () => super.childrenOf(digest))
  }

  override parentsOf(digest: Digest): Promise<readonly Digest[]> {
    return remembered(this.#parents, digest, () => super.parentsOf(digest))
  }

  /** Everything stored that `root` leads to, and `root` itself. */
  async closure(root: Digest): Promise<ReadonlyMap<Digest, Access>> {
    const found = new Map<Digest, Access>()
    for await (const digest of walk(root, (parent) => this.childrenOf(parent))) {
      const access = await this.lastAccess(digest)
      if (access) found.set(digest, access)
    }
    return found
  }

  /** Everything stored that `roots` lead to and that nothing needs once `leaving` is gone. */
  async neededOnlyBy(roots: Iterable<Digest>, leaving: Leaving): Promise<ReadonlyMap<Digest, Access>> {
    const going = new Map<Digest, Access>()
    const starts = new Set(roots)
    const waiting = [...starts]
    for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
      const access = await this.lastAccess(digest)
      if (!access || going.has(digest) || (await this.#isNeeded(digest, starts.has(digest), going, leaving))) continue
      going.set(digest, access)
      // A child is looked at again each time one more of its parents is going.
      waiting.push(...(await this.childrenOf(digest)))
    }
    return going
  }

  async #isNeeded(
    digest: Digest,
    isRoot: boolean,
    going: ReadonlyMap<Digest, Access>,
    leaving: Leaving,
  ): Promise<boolean> {
    const parents = await this.parentsOf(digest)
    for (const parent of parents) if (!going.has(parent) && (await this.lastAccess(parent))) return true
    // Only manifests have tags. A digest without children is none, except for a root, which was asked for by name.
    if (!isRoot && (await this.childrenOf(digest)).length === 0) return false
    const repositories = await this.repositoriesOf(digest)
    for (const repository of repositories) {
      const tags = (await this.#tagsIn(repository)).get(digest) ?? []
      if (tags.some((tag) => !leaving.tag(tag))) return true
    }
    // No going manifest brought it: clients asked for it by digest, through each of these repositories.
    return !parents.some((parent) => going.has(parent)) && repositories.some((name) => !leaving.repository(name))
  }

  #tagsIn(repository: string): Promise<ReadonlyMap<Digest, readonly ImageCursor[]>> {
    return remembered(this.#tags, repository, async () =>
      Map.groupBy(await this.tagsOf(repository), ({ digest }) => digest),
    )
  }
}

async function remembered<Key, Value>(memory: Map<Key, Value>, key: Key, ask: () => Promise<Value>): Promise<Value> {
  const known = memory.get(key)
  if (known !== undefined || memory.has(key)) return known as Value
  const value = await ask()
  memory.set(key, value)
  return value
}
