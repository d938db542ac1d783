import type { MetadataTier, TagRecord } from '../metadata/metadata-store.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import type { Currency, KnownTag, Manifest, Resolution } from '../upstream/upstream.ts'
import { requireFromUpstream } from './ask-upstream.ts'
import type { KeptManifest } from './content-cache.ts'
import { confirmedAt, type Freshness, freshness, isBehind, type TagPolicy } from './freshness.ts'
import type { Manifests } from './manifests.ts'
import { NegativeCache } from './negative-cache.ts'
import type { Observer, Outcome } from './observer.ts'
import type { Origin } from './origin.ts'
import { SingleFlight } from './single-flight.ts'
import { TagHeads } from './tag-heads.ts'

export interface ServedTag {
  readonly outcome: Outcome
  /** Without its body where the client wants its head, and nobody has fetched it. */
  readonly manifest: KeptManifest | Descriptor
  /** Epoch milliseconds of the upstream's last confirmation. */
  readonly checkedAt: number
  /** The upstream's own warning: it is a cache, and its answer was stale. */
  readonly warning?: string | undefined
  /** The manifest comes straight from upstream and is not kept. */
  readonly passed?: boolean
}

export interface TagsOptions {
  readonly manifests: Manifests
  readonly metadata: MetadataTier
  readonly observer: Observer
  readonly now: () => number
  readonly policy: (origin: Origin) => TagPolicy
  /** Milliseconds that clients wait for a check when something stale could be served. */
  readonly deadline: number
  /** Milliseconds an upstream may take over a question. */
  readonly answerTimeout: number
}

/** When the upstream confirmed a tag, in epoch milliseconds, and its warning. */
type Confirmed = Pick<ServedTag, 'checkedAt' | 'warning'>

interface Check {
  readonly result: Promise<ServedTag>
  /** Resolves when clients have waited long enough, counted from the start of the check, whoever came when. */
  readonly overdue: Promise<'overdue'>
}

/** Tags: where they pointed when last checked, and the checking. */
export class Tags {
  readonly #options: TagsOptions
  readonly #absent: NegativeCache
  readonly #checks = new Map<string, Check>()
  readonly #first = new SingleFlight<ServedTag>()
  readonly #heads = new TagHeads()

  constructor(options: TagsOptions) {
    this.#options = options
    this.#absent = new NegativeCache(options.now)
  }

  /** A fresh tag whose manifest is in memory. Undefined means: ask `get`. */
  tryCached(origin: Origin, tag: string): ServedTag | undefined {
    const record = this.#options.metadata.peekTag(origin.repository, tag)
    if (!record || this.#freshness(origin, record) !== 'fresh') return undefined
    const manifest = this.#options.manifests.tryCached(origin, record.digest)
    return manifest && { outcome: 'hit', manifest, checkedAt: record.checkedAt }
  }

  /**
   * Rejects with RegistryError where there is no such tag, and with UpstreamError. For the `head` of a tag without a record
   * no manifest is fetched.
   */
  async get(origin: Origin, tag: string, part: 'head' | 'whole'): Promise<ServedTag> {
    const { manifests } = this.#options
    const record = await this.#record(origin, tag)
    if (!record) return await this.#fetch(origin, tag, part)
    const { digest, checkedAt } = record
    const age = this.#freshness(origin, record)
    if (age === 'fresh') {
      const found = await unlessAbsent(manifests.byDigest(origin, digest))
      // Else it was evicted here and is no longer there, or not for everybody: then the tag needs a look too.
      if (found) return { ...found, checkedAt }
    }
    const kept = age === 'stale' ? await manifests.stored(origin, digest) : undefined
    if (!kept) return await this.#check(origin, tag, record).result
    const stale: ServedTag = { outcome: 'stale', manifest: kept, checkedAt }
    if (origin.upstream.restsUntil !== undefined) return stale
    const { result, overdue } = this.#check(origin, tag, record)
    try {
      const first = await Promise.race([result, overdue])
      return first === 'overdue' ? stale : first
    } catch (error) {
      if (error instanceof RegistryError) throw error
      return stale
    }
  }

  /** Call when a manifest was fetched by digest. Clients ask for its tag by HEAD before: then the tag gets its record now. */
  async fetchedByDigest(origin: Origin, manifest: KeptManifest): Promise<void> {
    const told = this.#heads.tagOf(origin.repository, manifest.digest)
    if (told) await this.#remember(origin, told.tag, { manifest, outcome: 'miss' }, told.head)
  }

  #freshness(origin: Origin, record: Pick<TagRecord, 'checkedAt'>): Freshness {
    return freshness(record, this.#options.now(), this.#options.policy(origin))
  }

  /** This process's own knowledge while it is fresh; beyond that what all replicas share, which may be newer. */
  async #record(origin: Origin, tag: string): Promise<TagRecord | undefined> {
    const { metadata, observer } = this.#options
    const recent = metadata.peekTag(origin.repository, tag)
    if (recent && this.#freshness(origin, recent) === 'fresh') return recent
    try {
      return await metadata.tag(origin.repository, tag)
    } catch (error) {
      observer.storeFailed('metadata', error)
      return recent
    }
  }

  /** The first time a tag is asked for. */
  async #fetch(origin: Origin, tag: string, part: 'head' | 'whole'): Promise<ServedTag> {
    const absent = this.#absent.get(origin.repository, tag)
    if (absent) throw new RegistryError(absent.code, absent)
    // It may have been fetched while the metadata was being asked.
    const cached = this.tryCached(origin, tag) ?? (part === 'head' ? this.#knownHead(origin, tag) : undefined)
    if (cached) return cached
    const { result, joined } = this.#first.run(`${part} ${keyOf(origin, tag)}`, async () => {
      if (part === 'head') return await this.#askHead(origin, tag)
      const manifest = await this.#orForget(origin, tag, this.#options.manifests.fetch(origin, { tag }), undefined)
      return await this.#fetched(origin, tag, manifest)
    })
    return joined ? asJoined(await result) : await result
  }

  #knownHead(origin: Origin, tag: string): ServedTag | undefined {
    const head = this.#heads.get(origin.repository, tag)
    if (!head || this.#freshness(origin, head) !== 'fresh') return undefined
    return { outcome: 'hit', manifest: head.descriptor, checkedAt: head.checkedAt }
  }

  /** For a client that wants no manifest. */
  async #askHead(origin: Origin, tag: string): Promise<ServedTag> {
    const { manifests } = this.#options
    const answer = await this.#orForget(origin, tag, this.#resolve(origin, tag, undefined), undefined)
    if (answer.kind === 'unchanged') throw new UpstreamError(origin.upstream.name, 'protocol', '304 to no condition')
    if (answer.kind === 'manifest') {
      await manifests.keep(origin, answer.manifest)
      return await this.#fetched(origin, tag, answer.manifest)
    }
    const { descriptor, etag, currency } = answer
    const confirmed = this.#confirmed(origin, currency, undefined)
    const stored = await manifests.stored(origin, descriptor.digest)
    if (stored) return await this.#remember(origin, tag, { manifest: stored, outcome: 'miss' }, { etag, ...confirmed })
    this.#heads.set(origin.repository, tag, { descriptor, etag, ...confirmed })
    return { outcome: 'miss', manifest: descriptor, ...confirmed, passed: true }
  }

  /** One check at a time for each tag; it goes on behind when nobody waits for it any more. */
  #check(origin: Origin, tag: string, record: TagRecord): Check {
    const key = keyOf(origin, tag)
    const running = this.#checks.get(key)
    if (running) return { ...running, result: running.result.then(asJoined) }
    const overdue = Promise.withResolvers<'overdue'>()
    const timer = setTimeout(() => {
      origin.upstream.overdue()
      overdue.resolve('overdue')
    }, this.#options.deadline)
    const result = this.#ask(origin, tag, record, record).finally(() => {
      clearTimeout(timer)
      this.#checks.delete(key)
    })
    // Those who wait hear of it; it may be that nobody does any more.
    result.catch(() => undefined)
    const check = { result, overdue: overdue.promise }
    this.#checks.set(key, check)
    return check
  }

  /** Asks the upstream about a tag that has a `record`. `known` makes the question conditional where it has an ETag. */
  async #ask(origin: Origin, tag: string, record: TagRecord, known: KnownTag): Promise<ServedTag> {
    const { manifests } = this.#options
    const answer = await this.#orForget(origin, tag, this.#resolve(origin, tag, known), record)
    if (answer.kind === 'manifest') {
      const { manifest } = answer
      if (isBehind(manifest, record, this.#options.now())) return await this.#keepTo(origin, record, manifest.currency)
      await manifests.keep(origin, manifest)
      return await this.#fetched(origin, tag, manifest, record)
    }
    const { currency } = answer
    const { digest, etag } = answer.kind === 'unchanged' ? record : { ...answer.descriptor, etag: answer.etag }
    if (isBehind({ digest, currency }, record, this.#options.now())) return await this.#keepTo(origin, record, currency)
    // The record moves only after its new target is stored: if that cannot be had, the old one still can.
    const found = await unlessAbsent(manifests.byDigest(origin, digest))
    // The ETag may be bound to what never was a manifest: then the tag has to show its digest, once.
    if (!found && answer.kind === 'unchanged' && known.etag !== undefined) {
      return await this.#ask(origin, tag, record, { digest, etag: undefined })
    }
    if (!found)
      throw new UpstreamError(origin.upstream.name, 'protocol', `${tag} points to a manifest it does not have`)
    const isStale = currency.warning !== undefined && digest === record.digest
    const outcome = found.outcome === 'hit' ? (isStale ? 'stale' : 'revalidated') : found.outcome
    const confirmed = this.#confirmed(origin, currency, record)
    return await this.#remember(origin, tag, { manifest: found.manifest, outcome }, { etag, ...confirmed })
  }

  #resolve(origin: Origin, tag: string, known: KnownTag | undefined): Promise<Resolution> {
    return requireFromUpstream(origin, 'MANIFEST_UNKNOWN', this.#options, (signal) =>
      origin.upstream.resolve(origin.name, tag, known, signal),
    )
  }

  /** What a GET of the tag brought. */
  async #fetched(origin: Origin, tag: string, manifest: Manifest, record?: TagRecord): Promise<ServedTag> {
    const { signed, currency, etag } = manifest
    const confirmed = this.#confirmed(origin, currency, record)
    if (signed) return { outcome: 'miss', manifest, ...confirmed, passed: true }
    return await this.#remember(origin, tag, { manifest, outcome: 'miss' }, { etag, ...confirmed })
  }

  /** The tag as it is known, since the upstream answers stale. */
  async #keepTo(origin: Origin, { digest, checkedAt }: TagRecord, { warning }: Currency): Promise<ServedTag> {
    const manifest = await this.#options.manifests.stored(origin, digest)
    if (manifest) return { outcome: 'stale', manifest, checkedAt, warning }
    throw new UpstreamError(origin.upstream.name, 'unavailable', 'its answer is stale, and older than what is known')
  }

  /** Forgets the tag where the upstream does not have it. A refusal is no absence: a known tag stays while it may be stale. */
  async #orForget<T>(origin: Origin, tag: string, asked: Promise<T>, record: TagRecord | undefined): Promise<T> {
    const { metadata, observer } = this.#options
    try {
      return await asked
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      if (error.code === 'NAME_UNKNOWN' && (await this.#isKnown(origin, record))) {
        const what = `${origin.name}:${tag} was answered before, and is refused now (401 or 403)`
        const failure = new UpstreamError(origin.upstream.name, 'denied', what)
        observer.upstreamFailed(origin.upstream.name, failure)
        throw failure
      }
      this.#absent.add(origin.repository, tag, error)
      this.#heads.delete(origin.repository, tag)
      await metadata
        .deleteTag(origin.repository, tag)
        .catch((failure: unknown) => observer.storeFailed('metadata', failure))
      throw error
    }
  }

  /** Whether a tag was answered to everybody before, and not too long ago. */
  async #isKnown(origin: Origin, record: TagRecord | undefined): Promise<boolean> {
    if (!record || this.#freshness(origin, record) === 'expired') return false
    return await this.#options.manifests.isProven(origin, record.digest)
  }

  async #remember(
    origin: Origin,
    tag: string,
    found: { manifest: KeptManifest; outcome: Outcome },
    { etag, checkedAt, warning }: { etag: string | undefined } & Confirmed,
  ): Promise<ServedTag> {
    const { metadata, observer } = this.#options
    const { digest, mediaType, size } = found.manifest
    await metadata
      .setTag(origin.repository, tag, { digest, mediaType, size, etag, checkedAt })
      .catch((error: unknown) => observer.storeFailed('metadata', error))
    this.#absent.delete(origin.repository, tag)
    this.#heads.delete(origin.repository, tag)
    return { ...found, checkedAt, warning }
  }

  #confirmed(origin: Origin, currency: Currency, record: TagRecord | undefined): Confirmed {
    const checkedAt = confirmedAt(currency, record, this.#options.now(), this.#options.policy(origin))
    return { checkedAt, warning: currency.warning }
  }
}

function keyOf(origin: Origin, tag: string): string {
  return `${origin.repository}:${tag}`
}

/** Undefined for what the repository does not hold, or not for everybody. */
async function unlessAbsent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (error instanceof RegistryError) return undefined
    throw error
  }
}

/** As it is for those who did not start it. */
function asJoined(served: ServedTag): ServedTag {
  return served.outcome === 'miss' ? { ...served, outcome: 'collapsed' } : served
}
