import type { ContentIndex, ImageCursor, TaggedImage } from '../../metadata/content-index.ts'
import type { MetadataTier } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import { isIndex } from '../../oci/media-type.ts'
import type { Pin } from '../../oci/pin.ts'
import { configOf, platformOf, platformsOf } from '../../oci/platform.ts'
import type { BlobStore } from '../../storage/blob-store.ts'
import { readManifest } from '../manifests.ts'
import type { Observer } from '../observer.ts'
import { ContentGraph } from './content-graph.ts'
import type { Pins } from './pins.ts'

/** A platform of an image. */
export interface CachedPlatform {
  /** `linux/arm/v7`. */
  readonly platform: string
  /** Whether everything that this platform needs is stored. */
  readonly cached: boolean
}

/** A tag whose manifest is stored. */
export interface CachedImage extends TaggedImage {
  /** In the order of the index. Empty where it is no image, or its platform is not known. */
  readonly platforms: readonly CachedPlatform[]
  /** Bytes of everything stored that the manifest leads to. */
  readonly size: number
  /** Of these, what a purge of this tag would remove. */
  readonly unique: number
  /** Of these, what another cached image needs as well. */
  readonly shared: number
  /** Epoch milliseconds. */
  readonly lastUsed: number
  readonly pinned: boolean
}

export interface ImagesOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: ContentIndex
  readonly pins: Pins
  readonly observer: Observer
}

export interface ImageQuery {
  /** The beginning of the repository's name; '' for all. */
  readonly prefix: string
  readonly after: ImageCursor | undefined
  /** The most images of one list. There may be fewer, and still a `next`. */
  readonly limit: number
}

export interface ImageList {
  readonly images: readonly CachedImage[]
  /** Where the next list begins; undefined at the end. */
  readonly next: ImageCursor | undefined
}

/** Bytes. A larger image config is not read to learn its platform. */
const maxConfigSize = 1024 * 1024

/** Lists the cache as images. A listing costs as much as the images that it returns, not as the whole cache. */
export class Images {
  readonly #options: ImagesOptions

  constructor(options: ImagesOptions) {
    this.#options = options
  }

  async list({ prefix, after, limit }: ImageQuery): Promise<ImageList> {
    const { index, metadata, pins } = this.#options
    // Writes the uses that wait in memory, so that the graph has them.
    await metadata.usage()
    const graph = new ContentGraph(index)
    const all = await pins.list()
    const tagged = await index.images(prefix, after, limit)
    const images: CachedImage[] = []
    for (const image of tagged) {
      const described = await this.#describe(image, graph, all)
      if (described) images.push(described)
    }
    return { images, next: tagged.length < limit ? undefined : tagged.at(-1) }
  }

  /** Undefined where the manifest is not stored. */
  async #describe(image: TaggedImage, graph: ContentGraph, pins: readonly Pin[]): Promise<CachedImage | undefined> {
    const access = await graph.lastAccess(image.digest)
    if (!access) return undefined
    const { repository, tag } = image
    const closure = await graph.closure(image.digest)
    const own = await graph.neededOnlyBy([image.digest], {
      tag: (other) => other.repository === repository && other.tag === tag,
      repository: (other) => other === repository,
    })
    const size = bytesOf(closure)
    const unique = bytesOf(own)
    return {
      ...image,
      platforms: await this.#platforms(image, graph).catch((error: unknown) => {
        this.#options.observer.storeFailed('content', error)
        return []
      }),
      size,
      unique,
      shared: size - unique,
      lastUsed: [...own.values()].reduce((latest, { at }) => Math.max(latest, at), access.at),
      pinned: pins.some((pin) => pin.matches(repository, tag)),
    }
  }

  async #platforms({ digest, mediaType }: TaggedImage, graph: ContentGraph): Promise<readonly CachedPlatform[]> {
    const body = await readManifest(this.#options.store, digest)
    if (!body) return []
    if (!isIndex(mediaType)) {
      const platform = await this.#ownPlatform(body, graph)
      return platform === undefined ? [] : [{ platform, cached: await isWhole(digest, graph) }]
    }
    const platforms: CachedPlatform[] = []
    for (const { platform, digest: child } of platformsOf(body)) {
      platforms.push({ platform, cached: await isWhole(child, graph) })
    }
    return platforms
  }

  async #ownPlatform(manifest: Buffer, graph: ContentGraph): Promise<string | undefined> {
    const config = configOf(manifest)
    const access = config && (await graph.lastAccess(config))
    if (!access || access.size > maxConfigSize) return undefined
    const body = await readManifest(this.#options.store, access.digest)
    return body && platformOf(body)
  }
}

/** Whether a manifest and everything that it names is stored. */
async function isWhole(manifest: Digest, graph: ContentGraph): Promise<boolean> {
  for (const digest of [manifest, ...(await graph.childrenOf(manifest))]) {
    if (!(await graph.lastAccess(digest))) return false
  }
  return true
}

function bytesOf(accesses: ReadonlyMap<Digest, { readonly size: number }>): number {
  return [...accesses.values()].reduce((sum, { size }) => sum + size, 0)
}
