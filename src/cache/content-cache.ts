import { LRUCache } from 'lru-cache'
import type { MetadataTier } from '../metadata/metadata-store.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import type { OpenBlob } from '../storage/blob-store.ts'
import type { BodyReader } from '../storage/body-reader.ts'

/** Blobs of up to this many bytes are kept: image configs and the like. Every pull asks for them. */
export const maxSmallBlob = 64 * 1024

/** Bytes of memory, and what an entry takes besides its content. */
const bound = 96 * 1024 * 1024
const overhead = 512

/** Content in memory. Its bytes match its digest, so it stays right when the store has lost its own copy. */
export interface CachedContent {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly body: Buffer
  /** Undefined for what was read as a blob. */
  readonly mediaType: string | undefined
}

/** Content that is a manifest: exactly the bytes of its digest. */
export interface KeptManifest extends CachedContent {
  readonly mediaType: string
}

export interface ContentCacheOptions {
  readonly metadata: Pick<MetadataTier, 'touch'>
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Manifests and small blobs in memory, the least recently used forgotten first. */
export class ContentCache {
  readonly #options: ContentCacheOptions
  readonly #entries = new LRUCache<Digest, CachedContent>({
    maxSize: bound,
    sizeCalculation: ({ size }) => size + overhead,
  })
  /** Content that the store does not hold. Nobody evicts it there, so its uses are not recorded. */
  readonly #unstored = new WeakSet<CachedContent>()

  constructor(options: ContentCacheOptions) {
    this.#options = options
  }

  /** Counts as a use of stored content. */
  get(digest: Digest): CachedContent | undefined {
    const content = this.#entries.get(digest)
    if (content) this.#use(content)
    return content
  }

  /** A manifest of the repository that calls it `mediaType`. Counts as a use of stored content. */
  getManifest(digest: Digest, mediaType: string): KeptManifest | undefined {
    const content = this.get(digest)
    if (!content || (isManifest(content) && content.mediaType === mediaType)) return content
    const manifest = { ...content, mediaType }
    // Read as a blob before; or kept for a repository that calls it something else.
    if (!isManifest(content)) this.#entries.set(digest, manifest)
    return manifest
  }

  /** Keeps verified content that the store does not hold yet. The caller calls what it returns once the store does. */
  setUnstored(content: CachedContent): () => void {
    this.#entries.set(content.digest, content)
    this.#unstored.add(content)
    return () => this.#unstored.delete(content)
  }

  /**
   * Reads a stored blob, verifies and keeps it. Closes the blob. Undefined where its bytes do not match the digest. Counts
   * as a use. `mediaType` is for manifests.
   */
  async load(digest: Digest, blob: OpenBlob): Promise<CachedContent | undefined>
  async load(digest: Digest, blob: OpenBlob, mediaType: string): Promise<KeptManifest | undefined>
  async load(digest: Digest, blob: OpenBlob, mediaType?: string): Promise<CachedContent | undefined> {
    const body = await readAll(blob.reader({ start: 0, end: blob.size - 1 }))
    if (digestOf(body, algorithmOf(digest)) !== digest) return undefined
    const known = this.#entries.peek(digest)?.mediaType
    const content = { digest, size: body.length, body, mediaType: mediaType ?? known }
    this.#entries.set(digest, content)
    this.#use(content)
    return content
  }

  forget(digest: Digest): void {
    this.#entries.delete(digest)
  }

  #use(content: CachedContent): void {
    if (this.#unstored.has(content)) return
    const { metadata, now } = this.#options
    metadata.touch(content.digest, content.size, now())
  }
}

function isManifest(content: CachedContent): content is KeptManifest {
  return content.mediaType !== undefined
}

/** Reads a body into memory. Closes the reader. */
export async function readAll(reader: BodyReader): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } finally {
    await reader.close()
  }
}
