import type { ContentIndex } from '../metadata/content-index.ts'
import type { Link, MetadataTier } from '../metadata/metadata-store.ts'
import type { Digest } from '../oci/digest.ts'
import { claimsOf, parseObject } from '../oci/manifest.ts'
import type { Reference } from '../oci/reference.ts'
import type { BlobStore, ManifestNote, OpenBlob } from '../storage/blob-store.ts'
import type { Spool } from '../storage/spool/spool.ts'
import type { Manifest, Visibility } from '../upstream/upstream.ts'
import { requireFromUpstream } from './ask-upstream.ts'
import { type ContentCache, type KeptManifest, readAll } from './content-cache.ts'
import type { Fills } from './fill/fills.ts'
import type { Observer } from './observer.ts'
import { mayServe, type Origin } from './origin.ts'
import { SingleFlight } from './single-flight.ts'

export interface FoundManifest {
  readonly manifest: KeptManifest
  readonly outcome: 'hit' | 'miss' | 'collapsed'
}

export interface ManifestsOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly content: ContentCache
  readonly createSpool: () => Promise<Spool>
  readonly observer: Observer
  /** Milliseconds an upstream may take over a question. */
  readonly answerTimeout: number
  readonly index: Pick<ContentIndex, 'addReferences'>
  /** Takes a manifest over, into the store and its records. Rejects where the store fails, or has no room. */
  readonly adopt: (digest: Digest, spool: Spool, note: ManifestNote) => Promise<void>
  /** What keeps a stored manifest from being evicted while it is read, and takes out a damaged one. */
  readonly fills: Pick<Fills, 'reading' | 'discard'>
}

/** Bytes of the largest content that is read as a manifest: a manifest may call a layer one. */
const largestManifest = 64 * 1024 * 1024

/** Manifests by digest, through a repository that holds them. */
export class Manifests {
  readonly #options: ManifestsOptions
  readonly #fetches = new SingleFlight<Manifest>()

  constructor(options: ManifestsOptions) {
    this.#options = options
  }

  /** A manifest that is in memory, and proven for this repository. Undefined means: ask `byDigest`. */
  tryCached(origin: Origin, digest: Digest): KeptManifest | undefined {
    const link = this.#options.metadata.peekLink(origin.repository, 'manifest', digest)
    if (!link || !mayServe(origin, link.visibility)) return undefined
    return this.#options.content.getManifest(digest, link.mediaType)
  }

  /** Whether it is proven for this repository, and may be served to everybody, stored or not. */
  async isProven(origin: Origin, digest: Digest): Promise<boolean> {
    return (await this.#link(origin, digest)) !== undefined
  }

  /** What is stored and proven for this repository, without asking the upstream. */
  async stored(origin: Origin, digest: Digest): Promise<KeptManifest | undefined> {
    const link = await this.#link(origin, digest)
    if (!link) return undefined
    return this.#options.content.getManifest(digest, link.mediaType) ?? (await this.#read(digest, link.mediaType))
  }

  /** Rejects with RegistryError where the repository does not hold it, with UpstreamError and with ContentMismatch. */
  async byDigest(origin: Origin, digest: Digest): Promise<FoundManifest> {
    // Once more at the end, since it may have been fetched while the metadata was being asked.
    const stored = (await this.stored(origin, digest)) ?? this.tryCached(origin, digest)
    if (stored) return { manifest: stored, outcome: 'hit' }
    const { result, joined } = this.#fetches.run(`${origin.repository}@${digest}`, () => this.fetch(origin, { digest }))
    return { manifest: await result, outcome: joined ? 'collapsed' : 'miss' }
  }

  /** Fetches from upstream and keeps what came. Rejects like `byDigest`. */
  async fetch(origin: Origin, reference: Reference): Promise<Manifest> {
    const manifest = await requireFromUpstream(origin, 'MANIFEST_UNKNOWN', this.#options, (signal) =>
      origin.upstream.manifest(origin.name, reference, signal),
    )
    await this.keep(origin, manifest)
    return manifest
  }

  /**
   * Keeps a manifest, with what it claims, for the repository it came through; a signed one is only passed on. Never fails:
   * memory holds it at least.
   */
  async keep(origin: Origin, manifest: Manifest): Promise<void> {
    const { observer, metadata, index, content } = this.#options
    const { mediaType, digest, size, body, visibility } = manifest
    observer.received(origin.upstream.name, size)
    if (manifest.signed) return
    const links = linksOf(manifest, visibility)
    const stored = content.setUnstored({ mediaType, digest, size, body })
    try {
      await this.#store(origin, manifest)
      stored()
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

  async #link(origin: Origin, digest: Digest): Promise<Link | undefined> {
    const { metadata, observer } = this.#options
    try {
      const link =
        metadata.peekLink(origin.repository, 'manifest', digest) ??
        (await metadata.link(origin.repository, 'manifest', digest))
      return link && mayServe(origin, link.visibility) ? link : undefined
    } catch (error) {
      observer.storeFailed('metadata', error)
      return undefined
    }
  }

  /** Undefined where it is absent, or was damaged and has been taken out. */
  async #read(digest: Digest, mediaType: string): Promise<KeptManifest | undefined> {
    const { store, fills, observer, content } = this.#options
    try {
      const found = await fills.reading(digest, async () => {
        const blob = await openManifest(store, digest)
        return blob && ((await content.load(digest, blob, mediaType)) ?? 'damaged')
      })
      // What a manifest calls a manifest may be none, and an older version kept pages.
      if (found !== 'damaged') return found && parseObject(found.body) ? found : undefined
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
  return [...new Set(links.map((link) => link.digest))].filter((digest) => digest !== manifest)
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

async function openManifest(store: BlobStore, digest: Digest): Promise<OpenBlob | undefined> {
  const blob = await store.open(digest)
  if (!blob || blob.size <= largestManifest) return blob
  await blob.close()
  return undefined
}

/** A stored manifest's bytes; undefined when it is not there. */
export async function readManifest(store: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  const blob = await openManifest(store, digest)
  if (!blob) return undefined
  return await readAll(blob.reader({ start: 0, end: blob.size - 1 }))
}
