import { LRUCache } from 'lru-cache'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'

/** What the answer to a HEAD said of a tag. */
export interface TagHead {
  readonly descriptor: Descriptor
  readonly etag: string | undefined
  /** Epoch milliseconds. */
  readonly checkedAt: number
  /** The upstream's own. */
  readonly warning?: string | undefined
}

/** Kept of all repositories. */
const most = 4096

/**
 * What HEADs said of tags whose manifests nobody has fetched. In memory only, until the manifest is fetched and the tag
 * has a record.
 */
export class TagHeads {
  /** By repository and tag. */
  readonly #heads = new LRUCache<string, TagHead>({ max: most })
  /** The tag, by repository and digest: clients ask for a tag by HEAD, and then for its manifest by digest. */
  readonly #tags = new LRUCache<string, string>({ max: most })

  set(repository: string, tag: string, head: TagHead): void {
    this.#heads.set(`${repository}:${tag}`, head)
    this.#tags.set(`${repository}@${head.descriptor.digest}`, tag)
  }

  get(repository: string, tag: string): TagHead | undefined {
    return this.#heads.get(`${repository}:${tag}`)
  }

  delete(repository: string, tag: string): void {
    this.#heads.delete(`${repository}:${tag}`)
  }

  /** The last tag that pointed to this manifest when it was asked for; undefined where it points elsewhere by now. */
  tagOf(repository: string, digest: Digest): { readonly tag: string; readonly head: TagHead } | undefined {
    const tag = this.#tags.get(`${repository}@${digest}`)
    const head = tag === undefined ? undefined : this.get(repository, tag)
    return tag !== undefined && head?.descriptor.digest === digest ? { tag, head } : undefined
  }
}
