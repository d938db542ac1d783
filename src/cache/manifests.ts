import { LRUCache } from 'lru-cache'
import type { ContentIndex } from '../metadata/content-index.ts'
import type { Link, MetadataTier } from '../metadata/metadata-store.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import { claimsOf } from '../oci/manifest.ts'
import type { Reference } from '../oci/reference.ts'
import type { BlobStore, ManifestNote } from '../storage/blob-store.ts'
import type { Spool } from '../storage/spool/spool.ts'
import type { Manifest, Visibility } from '../upstream/upstream.ts'
import type { Fills } from './fill/fills.ts'
import type { Observer } from './observer.ts'
import { mayServe, type Origin } from './origin.ts'
import { consult } from './question.ts'
import { Flight } from './single-flight.ts'
import { readAll } from './small-blobs.ts'

/** A manifest as it is kept and served: exactly the bytes of its digest. */
export interface KeptManifest extends Descriptor {
  readonly body: Buffer
}

export interface FoundManifest {
  readonly manifest: KeptManifest
  readonly outcome: 'hit' | 'miss' | 'collapsed'
}

export interface ManifestsOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly createSpool: () => Promise<Spool>
  readonly observer: Observer
  readonly now: () => number
  /** Milliseconds an upstream may take over a question. */
  readonly openWithin: number
  readonly index: Pick<ContentIndex, 'addReferences'>
  /** Takes a manifest over, into the store and its records. Rejects where the store fails, or has no room. */
  readonly adopt: (digest: Digest, spool: Spool, note: ManifestNote) => Promise<void>
  /** What keeps a stored manifest from being evicted while it is read, and takes out a damaged one. */
  readonly fills: Pick<Fills, 'reading' | 'discard'>
}

/** Bytes of manifests kept in memory, so that the hot ones are answered without touching the disk. */
const memory = 64 * 1024 * 1024

/** Manifests by digest, through a repository that holds them. */
export class Manifests {
  readonly #options: ManifestsOptions
  readonly #recent = new LRUCache<Digest, KeptManifest>({ maxSize: memory, sizeCalculation: ({ size }) => size + 512 })
  /** Those in memory that are not stored: they have no last use. */
  readonly #unstored = new WeakSet<KeptManifest>()
  readonly #fetches = new Flight<Manifest>()

  constructor(options: ManifestsOptions) {
    this.#options = options
  }

  /** What is at hand: in memory, and proven for this repository. Undefined means no more than that it needs a look. */
  recent(origin: Origin, digest: Digest): KeptManifest | undefined {
    const link = this.#options.metadata.recentLink(origin.repository, 'manifest', digest)
    if (!link || !mayServe(origin, link.visibility)) return undefined
    const manifest = this.#recent.get(digest)
    if (manifest) this.#used(manifest)
    return manifest
  }

  /** What is stored and proven for this repository, without asking the upstream. */
  async stored(origin: Origin, digest: Digest): Promise<KeptManifest | undefined> {
    const link = await this.#link(origin, digest)
    return link && (await this.#load(digest, link.mediaType))
  }

  /** Rejects with RegistryError where the repository does not hold it, with UpstreamError and with ContentMismatch. */
  async byDigest(origin: Origin, digest: Digest): Promise<FoundManifest> {
    // Once more at the end, since it may have been fetched while the metadata was being asked.
    const stored = (await this.stored(origin, digest)) ?? this.recent(origin, digest)
    if (stored) return { manifest: stored, outcome: 'hit' }
    const { result, joined } = this.#fetches.run(`${origin.repository}@${digest}`, () => this.fetch(origin, { digest }))
    return { manifest: await result, outcome: joined ? 'collapsed' : 'miss' }
  }

  /** Fetches from upstream and keeps what came. Rejects like `byDigest`. */
  async fetch(origin: Origin, reference: Reference): Promise<Manifest> {
    const manifest = await consult(origin, this.#options, (signal) =>
      origin.upstream.manifest(origin.name, reference, signal),
    )
    await this.keep(origin, manifest)
    return manifest
  }

  /** Keeps a manifest, with what it claims, for the repository it came through. Never fails: memory holds it at least. */
  async keep(origin: Origin, manifest: Manifest): Promise<void> {
    const { observer, metadata, index } = this.#options
    const { mediaType, digest, size, body, visibility } = manifest
    const links = linksOf(manifest, visibility)
    observer.received(origin.upstream.name, size)
    const kept: KeptManifest = { mediaType, digest, size, body }
    this.#unstored.add(kept)
    this.#recent.set(digest, kept)
    try {
      await this.#store(origin, manifest)
      this.#unstored.delete(kept)
    } catch (error) {
      observer.storeFailed('content', error)
    }
    try {
      await metadata.addLinks(origin.repository, links)
      await index.addReferences(digest, namesOf(digest, links))
    } catch (error) {
      observer.storeFailed('metadata', error)
    }
  }

  /** What memory holds of a digest goes. */
  forget(digest: Digest): void {
    this.#recent.delete(digest)
  }

  async #link(origin: Origin, digest: Digest): Promise<Link | undefined> {
    const { metadata, observer } = this.#options
    try {
      const link =
        metadata.recentLink(origin.repository, 'manifest', digest) ??
        (await metadata.link(origin.repository, 'manifest', digest))
      return link && mayServe(origin, link.visibility) ? link : undefined
    } catch (error) {
      observer.storeFailed('metadata', error)
      return undefined
    }
  }

  async #load(digest: Digest, mediaType: string): Promise<KeptManifest | undefined> {
    const recent = this.#recent.get(digest)
    if (recent) this.#used(recent)
    return recent ?? (await this.#read(digest, mediaType))
  }

  #used(manifest: KeptManifest): void {
    if (this.#unstored.has(manifest)) return
    this.#options.metadata.recordUse(manifest.digest, manifest.size, this.#options.now())
  }

  /** Undefined where it is absent, or damaged, and then is so no longer. */
  async #read(digest: Digest, mediaType: string): Promise<KeptManifest | undefined> {
    const { store, fills, observer } = this.#options
    try {
      const read = await fills.reading(digest, async () => {
        const body = await readManifest(store, digest)
        if (!body) return undefined
        if (digestOf(body, algorithmOf(digest)) !== digest) return 'damaged'
        const manifest = { mediaType, digest, size: body.length, body }
        this.#recent.set(digest, manifest)
        this.#used(manifest)
        return manifest
      })
      if (read !== 'damaged') return read
      await fills.discard(digest)
    } catch (error) {
      observer.storeFailed('content', error)
    }
    return undefined
  }

  async #store(origin: Origin, { digest, mediaType, body, visibility }: Manifest): Promise<void> {
    const spool = await this.#options.createSpool()
    try {
      await spool.append(body)
      spool.release()
      await this.#options.adopt(digest, spool, { mediaType, repositories: { [origin.repository]: visibility } })
    } finally {
      await spool.close()
    }
  }
}

/** The digests that a manifest names, of what it proves. */
export function namesOf(manifest: Digest, links: readonly Link[]): Digest[] {
  return links.map((link) => link.digest).filter((digest) => digest !== manifest)
}

/** What a manifest proves: that its repository holds it, and all that it names. */
export function linksOf({ mediaType, digest, size, body }: KeptManifest, visibility: Visibility): Link[] {
  const claims = claimsOf(mediaType, body)
  return [
    { kind: 'manifest', digest, size, mediaType, visibility },
    ...claims.manifests.map((claim): Link => ({ kind: 'manifest', ...claim, visibility })),
    ...claims.blobs.map((claim): Link => ({ kind: 'blob', ...claim, visibility })),
  ]
}

/** A stored manifest's bytes; undefined when it is not there. */
export async function readManifest(store: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const blob = await store.open(digest)
  if (!blob) return undefined
  return await readAll(blob.reader({ start: 0, end: blob.size - 1 }))
}
