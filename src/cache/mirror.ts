import { LRUCache } from 'lru-cache'
import type { ContentIndex } from '../metadata/content-index.ts'
import type { Link, MetadataTier } from '../metadata/metadata-store.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { octetStream } from '../oci/media-type.ts'
import type { Reference } from '../oci/reference.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Relieve, Spool } from '../storage/spool/spool.ts'
import type { Upstream, Visibility } from '../upstream/upstream.ts'
import { Blobs, type BlobWish, type ServedBlob } from './blobs.ts'
import { ContentCache, type KeptManifest } from './content-cache.ts'
import type { Fill } from './fill/fill.ts'
import { Fills } from './fill/fills.ts'
import type { TagPolicy } from './freshness.ts'
import { Manifests } from './manifests.ts'
import type { Observer, Outcome } from './observer.ts'
import { type Origin, originOf } from './origin.ts'
import { Probe, probeName } from './probe.ts'
import { type ServedTag, Tags } from './tags.ts'
import { Admission } from './upkeep/admission.ts'
import { Eviction } from './upkeep/eviction.ts'
import { Images } from './upkeep/images.ts'
import { Pins } from './upkeep/pins.ts'
import { Purge } from './upkeep/purge.ts'
import { rebuild, relink } from './upkeep/rebuild.ts'
import { Scrub } from './upkeep/scrub.ts'
import type { Bounds, Disk } from './upkeep/space.ts'

/** A repository as a client named it, already routed: an allowed upstream and a name of it. */
export interface Target {
  readonly upstream: string
  readonly name: string
}

export interface ServedManifest {
  readonly outcome: Outcome
  /** Without its body where only its head was asked for, and nobody has fetched it. */
  readonly manifest: KeptManifest | Descriptor
  /** For tags: epoch milliseconds of the upstream's last confirmation, and how long it counts in milliseconds. */
  readonly tag: { readonly checkedAt: number; readonly ttl: number } | undefined
  /** The upstream's own warning, to be passed on. */
  readonly warning?: string | undefined
  /** The manifest comes straight from upstream and is not kept. */
  readonly passed?: boolean
}

/** What a client asks of a repository. */
export type Wish =
  | { readonly kind: 'manifest'; readonly reference: Reference; readonly part: 'head' | 'whole' }
  | ({ readonly kind: 'blob' } & BlobWish)

export interface MirrorOptions {
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly createSpool: (relieve: Relieve) => Promise<Spool>
  readonly observer: Observer
  readonly now: () => number
  readonly policy: (upstream: string) => TagPolicy
  /** Milliseconds. */
  readonly timeouts: { readonly tagDeadline: number; readonly upstreamHeaders: number }
  readonly limits: { readonly unfollowedFills: number }
  /** The tag of the probe image: unguessable, and new at each start. */
  readonly nonce: string
  readonly index: ContentIndex
  readonly disk: () => Promise<Disk>
  readonly bounds: Bounds
}

/** Repositories remembered of each upstream. */
const mostOrigins = 5000

/** The cache as its clients see it. Every method rejects with RegistryError or UpstreamError, and nothing else on purpose. */
export class Mirror implements AsyncDisposable {
  readonly #options: MirrorOptions
  readonly #fills: Fills
  readonly #admission: Admission
  /** In front of the store. */
  readonly #content: ContentCache
  readonly #blobs: Blobs
  readonly #manifests: Manifests
  readonly #tags: Tags
  readonly probe: Probe
  readonly eviction: Eviction
  readonly scrub: Scrub
  readonly images: Images
  readonly pins: Pins
  readonly purge: Purge
  /** By upstream, and then by name. */
  readonly #origins = new Map<string, LRUCache<string, Origin>>()

  constructor(options: MirrorOptions) {
    const { store, metadata, index, observer, now, timeouts, disk, bounds } = options
    const answerTimeout = timeouts.upstreamHeaders
    const proven = (origin: Origin, digest: Digest, size: number | undefined, visibility: Visibility): void =>
      this.#proven(origin, digest, size, visibility)
    const sizeOf = this.#recordedSize.bind(this)
    const createSpool = () => options.createSpool((bytes) => this.eviction.relieve(bytes))
    const adopt = (digest: Digest, spool: Spool) => this.#admission.blob(digest, spool)
    const dependencies = { sizeOf, store, createSpool, observer, now, answerTimeout, proven, adopt }
    this.#options = options
    this.probe = new Probe(options.nonce)
    this.#fills = new Fills({ dependencies, unfollowed: options.limits.unfollowedFills })
    const fills = this.#fills
    const forget = this.#forget.bind(this)
    this.eviction = new Eviction({ store, metadata, index, fills, observer, now, disk, bounds, forget })
    this.#admission = new Admission({ store, metadata, eviction: this.eviction, fills, observer, now })
    this.#content = new ContentCache({ metadata, now })
    const content = this.#content
    this.#blobs = new Blobs({ fills, metadata, content, dependencies })
    this.#manifests = new Manifests({
      store,
      metadata,
      content,
      index,
      createSpool,
      observer,
      answerTimeout,
      fills,
      adopt: this.#admission.manifest.bind(this.#admission),
    })
    this.#tags = new Tags({
      manifests: this.#manifests,
      metadata,
      observer,
      now,
      policy: (origin) => options.policy(origin.upstream.name),
      deadline: timeouts.tagDeadline,
      answerTimeout,
    })
    this.scrub = new Scrub({
      store,
      metadata,
      index,
      fills,
      observer,
      now,
      forget,
      relink: (blob) => relink(blob, options),
      replace: this.#replace.bind(this),
    })
    this.pins = new Pins(index)
    this.images = new Images({ store, metadata, index, pins: this.pins, observer })
    const remove = this.eviction.remove.bind(this.eviction)
    this.purge = new Purge({ store, metadata, index, remove })
  }

  /** The running fills, for those who want to look. */
  get fills(): ReadonlySet<Fill> {
    return this.#fills.running
  }

  /**
   * What needs no waiting: content in memory, or a stored blob whose file opens at once, proven for the repository. It
   * counts as answered. Undefined means: ask `get`.
   */
  tryCached(target: Target, wish: Extract<Wish, { kind: 'manifest' }>): ServedManifest | undefined
  tryCached(target: Target, wish: Extract<Wish, { kind: 'blob' }>): ServedBlob | undefined
  tryCached(target: Target, wish: Wish): ServedManifest | ServedBlob | undefined {
    const origin = this.#origin(target)
    const served = wish.kind === 'blob' ? this.#tryBlob(origin, wish) : this.#tryManifest(origin, wish.reference)
    if (served) this.#options.observer.answered(wish.kind, origin.upstream.name, served.outcome)
    return served
  }

  /** It counts as answered, too. The caller closes a reader that it gets. */
  get(target: Target, wish: Extract<Wish, { kind: 'manifest' }>): Promise<ServedManifest>
  get(target: Target, wish: Extract<Wish, { kind: 'blob' }>): Promise<ServedBlob>
  get(target: Target, wish: Wish): Promise<ServedManifest | ServedBlob> {
    const origin = this.#origin(target)
    if (target.name === probeName) return this.#probed(origin, wish)
    return wish.kind === 'blob' ? this.#blobs.get(origin, wish) : this.#manifest(origin, wish)
  }

  /** A client got the probe, and so uses the mirror. */
  probed({ upstream }: Target, client: { address: string; userAgent: string | undefined }): void {
    this.#options.observer.probed(upstream, client)
  }

  /** Restores lost metadata from the store, until `signal` is aborted. Never rejects. */
  rebuild(signal: AbortSignal): Promise<void> {
    return rebuild({ ...this.#options, fills: this.#fills, signal })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A scrub may be waiting for a fill.
    await Promise.all([this.scrub.stop(), this.#fills[Symbol.asyncDispose]()])
    await this.eviction.stop()
  }

  /** Fetches what the store has lost, from whichever repository is known to hold it. */
  async #replace(digest: Digest): Promise<boolean> {
    const { index, observer } = this.#options
    for (const repository of await index.repositoriesOf(digest)) {
      const slash = repository.indexOf('/')
      const origin = this.#origin({ upstream: repository.slice(0, slash), name: repository.slice(slash + 1) })
      try {
        const link = await this.#options.metadata.link(repository, 'manifest', digest)
        if (link ? await this.#manifests.fetch(origin, { digest }) : await this.#blobs.refill(origin, digest))
          return true
      } catch (error) {
        observer.upstreamFailed(origin.upstream.name, error)
      }
    }
    return false
  }

  async #recordedSize(digest: Digest): Promise<number | undefined> {
    const { index, observer } = this.#options
    try {
      return (await index.lastAccess(digest))?.size
    } catch (error) {
      observer.storeFailed('metadata', error)
      return undefined
    }
  }

  /** Memory in front of the store, and of the metadata. */
  #forget(digest: Digest): void {
    this.#content.forget(digest)
    this.#options.metadata.forgetLinks(digest)
  }

  #origin({ upstream: host, name }: Target): Origin {
    const known = this.#origins.get(host)?.get(name)
    if (known) return known
    const upstream = this.#options.upstreams.get(host)
    if (!upstream) throw new RegistryError('DENIED', { detail: `${host} is not an upstream of this mirror` })
    const origins = this.#origins.get(host) ?? new LRUCache<string, Origin>({ max: mostOrigins })
    const origin = originOf(upstream, name)
    origins.set(name, origin)
    this.#origins.set(host, origins)
    return origin
  }

  #tryManifest(origin: Origin, reference: Reference): ServedManifest | undefined {
    // The probe's manifests are reported with the client that got them.
    if (origin.name === probeName) return undefined
    if ('tag' in reference) {
      const served = this.#tags.tryCached(origin, reference.tag)
      return served && this.#ofTag(origin, served)
    }
    const manifest = this.#manifests.tryCached(origin, reference.digest)
    return manifest && asHit(manifest)
  }

  #tryBlob(origin: Origin, wish: BlobWish): ServedBlob | undefined {
    return origin.name === probeName ? this.#probeBlob(wish.digest) : this.#blobs.tryCached(origin, wish)
  }

  #ofTag(origin: Origin, { checkedAt, ...served }: ServedTag): ServedManifest {
    const { ttl } = this.#options.policy(origin.upstream.name)
    return { ...served, tag: { checkedAt, ttl } }
  }

  async #manifest(origin: Origin, { reference, part }: Extract<Wish, { kind: 'manifest' }>): Promise<ServedManifest> {
    const served =
      'tag' in reference
        ? this.#ofTag(origin, await this.#tags.get(origin, reference.tag, part))
        : await this.#byDigest(origin, reference.digest)
    this.#options.observer.answered('manifest', origin.upstream.name, served.outcome)
    return served
  }

  async #byDigest(origin: Origin, digest: Digest): Promise<ServedManifest> {
    const found = await this.#manifests.byDigest(origin, digest)
    if (found.outcome === 'miss') await this.#tags.fetchedByDigest(origin, found.manifest)
    return { ...found, tag: undefined }
  }

  async #probed(origin: Origin, wish: Wish): Promise<ServedManifest | ServedBlob> {
    const manifest = wish.kind === 'manifest' ? this.probe.manifest(wish.reference) : undefined
    const served = wish.kind === 'blob' ? this.#probeBlob(wish.digest) : manifest && asHit(manifest)
    if (!served && wish.kind === 'blob') throw new RegistryError('BLOB_UNKNOWN')
    if (!served) throw new RegistryError('MANIFEST_UNKNOWN', { detail: 'the probe has one tag, told at the start' })
    this.#options.observer.answered(wish.kind, origin.upstream.name, served.outcome)
    return served
  }

  /** Whole, whatever range is asked for: it is tiny. */
  #probeBlob(digest: Digest): ServedBlob | undefined {
    const body = this.probe.blob(digest)
    return body && { outcome: 'hit', passed: false, size: body.length, range: undefined, body }
  }

  #proven(origin: Origin, digest: Digest, size: number | undefined, visibility: Visibility): void {
    const { metadata, observer } = this.#options
    const known = metadata.peekLink(origin.repository, 'blob', digest)
    if (known?.visibility === 'public' && (known.size !== undefined || size === undefined)) return
    const link: Link = { kind: 'blob', digest, size, mediaType: octetStream, visibility }
    metadata.addLinks(origin.repository, [link]).catch((error: unknown) => observer.storeFailed('metadata', error))
  }
}

/** By digest. */
function asHit(manifest: KeptManifest): ServedManifest {
  return { outcome: 'hit', manifest, tag: undefined }
}
