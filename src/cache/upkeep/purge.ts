import { setTimeout as sleep } from 'node:timers/promises'
import type { Access } from '../../metadata/access-log.ts'
import type { ContentIndex, Holding, ImageCursor, TaggedImage } from '../../metadata/content-index.ts'
import type { MetadataTier } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobStore } from '../../storage/blob-store.ts'
import { ContentGraph, type Leaving } from './content-graph.ts'
import { listWhile } from './pages.ts'

export interface PurgeOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: ContentIndex
  /** Removes a blob from the store and from memory. False where it is being filled or looked up, or was used since. */
  readonly remove: (access: Access) => Promise<boolean>
}

/** What was removed. */
export interface PurgeReport {
  readonly tags: number
  readonly blobs: number
  readonly bytes: number
}

/**
 * A blob that is being looked up, or was used a moment ago, is tried so often, with a pause of milliseconds in between.
 */
const maxAttempts = 5
const retryPause = 20

/**
 * Removes what an operator names, even if it is pinned. The next pull fetches it again. What another cached image needs
 * stays, and so does a blob that is being filled. A blob that is being read goes, and its readers still get all of it.
 *
 * Methods resolve to undefined where there is nothing of that name.
 */
export class Purge {
  readonly #options: PurgeOptions

  constructor(options: PurgeOptions) {
    this.#options = options
  }

  /** Removes a tag, with everything that only it needs. */
  async image(repository: string, tag: string): Promise<PurgeReport | undefined> {
    const { metadata } = this.#options
    const record = await metadata.tag(repository, tag)
    if (!record) return undefined
    await metadata.deleteTag(repository, tag)
    const removed = await this.#removeUnneeded([record.digest], {
      tag: (image) => image.repository === repository && image.tag === tag,
      repository: (name) => name === repository,
    })
    return { tags: 1, ...removed }
  }

  /** Removes everything that this repository holds and no other. */
  repository(name: string): Promise<PurgeReport | undefined> {
    return this.#repositories(name, (repository) => repository === name)
  }

  /** Removes everything that came from an upstream. */
  upstream(host: string): Promise<PurgeReport | undefined> {
    return this.#repositories(`${host}/`, () => true)
  }

  /** Removes one blob or manifest, whoever needs it. */
  async digest(digest: Digest): Promise<PurgeReport | undefined> {
    const { store, metadata, index } = this.#options
    await metadata.usage()
    const stored = await store.stat(digest)
    const access = await index.lastAccess(digest)
    if (!stored && !access) return undefined
    // A blob without a record gets one with the oldest use, so that it can be removed like all others.
    if (stored && !access) await metadata.recordAccesses([{ ...stored, at: 0 }])
    return { tags: 0, ...(await this.#removeAll(async () => [digest])) }
  }

  async #repositories(prefix: string, isMeant: (repository: string) => boolean): Promise<PurgeReport | undefined> {
    const { index, metadata } = this.#options
    // A repository comes before all others whose names begin with its own, so nothing that is meant comes later.
    const matches = (item: { readonly repository: string }): boolean => isMeant(item.repository)
    const tags = await listWhile<TaggedImage>((after, limit) => index.images(prefix, after, limit), matches)
    const holdings = await listWhile<Holding>((after, limit) => index.holdings(prefix, after, limit), matches)
    if (tags.length + holdings.length === 0) return undefined
    for (const { repository, tag } of tags) await metadata.deleteTag(repository, tag)
    const roots = [...tags, ...holdings].map(({ digest }) => digest)
    const meant = (repository: string): boolean => repository.startsWith(prefix) && isMeant(repository)
    const leaving = { tag: ({ repository }: ImageCursor) => meant(repository), repository: meant }
    const removed = await this.#removeUnneeded(roots, leaving)
    for (const repository of new Set([...tags, ...holdings].map((each) => each.repository))) {
      await index.deleteRepository(repository)
      metadata.forgetRepository(repository)
    }
    return { tags: tags.length, ...removed }
  }

  async #removeUnneeded(roots: readonly Digest[], leaving: Leaving): Promise<Omit<PurgeReport, 'tags'>> {
    return this.#removeAll(async (left) => {
      // Writes the uses that wait in memory, so that the graph has everything that is stored.
      await this.#options.metadata.usage()
      return (await new ContentGraph(this.#options.index).neededOnlyBy(left ?? roots, leaving)).keys()
    })
  }

  /** Asks `wanted` what to remove, and again with the digests that could not be removed, up to `maxAttempts` times. */
  async #removeAll(
    wanted: (left: readonly Digest[] | undefined) => Promise<Iterable<Digest>>,
  ): Promise<Omit<PurgeReport, 'tags'>> {
    const { index, remove } = this.#options
    const report = { blobs: 0, bytes: 0 }
    let left: Digest[] | undefined
    for (let attempt = 1; attempt <= maxAttempts && left?.length !== 0; attempt += 1) {
      if (attempt > 1) await sleep(retryPause)
      const trying: readonly Digest[] = [...(await wanted(left))]
      left = []
      for (const digest of trying) {
        const access = await index.lastAccess(digest)
        if (!access) continue
        if (!(await remove(access))) {
          left.push(digest)
          continue
        }
        report.blobs += 1
        report.bytes += access.size
      }
    }
    return report
  }
}
