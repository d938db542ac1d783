import type { MetadataTier, TagRecord } from '../metadata/metadata-store.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import type { Currency, Manifest } from '../upstream/upstream.ts'
import { requireFromUpstream } from './ask-upstream.ts'
import type { KeptManifest } from './content-cache.ts'
import { type Freshness, freshness, type TagPolicy } from './freshness.ts'
import type { Manifests } from './manifests.ts'
import { NegativeCache } from './negative-cache.ts'
import type { Observer, Outcome } from './observer.ts'
import type { Origin } from './origin.ts'
import { SingleFlight } from './single-flight.ts'

export interface ServedTag {
  readonly outcome: Outcome
  readonly manifest: KeptManifest
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

  /** Rejects with RegistryError where there is no such tag, and with UpstreamError. */
  async get(origin: Origin, tag: string): Promise<ServedTag> {
    const { manifests } = this.#options
    const record = await this.#record(origin, tag)
    if (!record) return await this.#fetch(origin, tag)
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

  #freshness(origin: Origin, record: TagRecord): Freshness {
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
  async #fetch(origin: Origin, tag: string): Promise<ServedTag> {
    const absent = this.#absent.get(origin.repository, tag)
    if (absent) throw new RegistryError(absent)
    // It may have been fetched while the metadata was being asked.
    const cached = this.tryCached(origin, tag)
    if (cached) return cached
    const { result, joined } = this.#first.run(keyOf(origin, tag), async () => {
      const manifest = await this.#orForget(origin, tag, this.#options.manifests.fetch(origin, { tag }), undefined)
      return await this.#fetched(origin, tag, manifest, undefined)
    })
    return joined ? asJoined(await result) : await result
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
    const result = this.#ask(origin, tag, record).finally(() => {
      clearTimeout(timer)
      this.#checks.delete(key)
    })
    // Those who wait hear of it; it may be that nobody does any more.
    result.catch(() => undefined)
    const check = { result, overdue: overdue.promise }
    this.#checks.set(key, check)
    return check
  }

  /** `known` is what makes the question conditional; `record` is what is known of the tag. */
  async #ask(
    origin: Origin,
    tag: string,
    record: TagRecord,
    known: TagRecord | undefined = record,
  ): Promise<ServedTag> {
    const { manifests } = this.#options
    const asked = requireFromUpstream(origin, 'MANIFEST_UNKNOWN', this.#options, (signal) =>
      origin.upstream.resolve(origin.name, tag, known, signal),
    )
    const answer = await this.#orForget(origin, tag, asked, record)
    if (answer.kind === 'manifest') {
      const { manifest } = answer
      if (this.#isBehind(manifest, record)) return await this.#keepTo(origin, record, manifest.currency)
      await manifests.keep(origin, manifest)
      return await this.#fetched(origin, tag, manifest, record)
    }
    const { currency } = answer
    const { digest, etag } = answer.kind === 'unchanged' ? record : { ...answer.descriptor, etag: answer.etag }
    if (this.#isBehind({ digest, currency }, record)) return await this.#keepTo(origin, record, currency)
    // The record moves only after its new target is stored: if that cannot be had, the old one still can.
    const found = await unlessAbsent(manifests.byDigest(origin, digest))
    // The ETag may be bound to what never was a manifest: then the tag has to show its digest.
    if (!found && answer.kind === 'unchanged' && known) return await this.#ask(origin, tag, record, undefined)
    if (!found)
      throw new UpstreamError(origin.upstream.name, 'protocol', `${tag} points to a manifest it does not have`)
    const isStale = currency.warning !== undefined && digest === record.digest
    const outcome = found.outcome === 'hit' ? (isStale ? 'stale' : 'revalidated') : found.outcome
    return await this.#remember(origin, tag, { manifest: found.manifest, outcome }, { etag, currency, record })
  }

  /** What a GET of the tag brought. */
  async #fetched(origin: Origin, tag: string, manifest: Manifest, record: TagRecord | undefined): Promise<ServedTag> {
    const { signed, currency, etag } = manifest
    const { warning } = currency
    if (signed) return { outcome: 'miss', manifest, checkedAt: this.#options.now(), warning, passed: true }
    return await this.#remember(origin, tag, { manifest, outcome: 'miss' }, { etag, currency, record })
  }

  /** Whether a cache in front of the registry answers stale, with something older than what is known here. */
  #isBehind({ digest, currency }: { digest: Digest; currency: Currency }, record: TagRecord): boolean {
    if (currency.warning === undefined || digest === record.digest) return false
    return this.#options.now() - currency.age <= record.checkedAt
  }

  /** The tag as it is known, since the upstream answers stale. */
  async #keepTo(origin: Origin, record: TagRecord, { warning }: Currency): Promise<ServedTag> {
    const manifest = await this.#options.manifests.stored(origin, record.digest)
    if (manifest) return { outcome: 'stale', manifest, checkedAt: record.checkedAt, warning }
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
      this.#absent.add(origin.repository, tag, error.code)
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
    { etag, currency, record }: { etag: string | undefined; currency: Currency; record: TagRecord | undefined },
  ): Promise<ServedTag> {
    const { metadata, observer } = this.#options
    const { digest, mediaType, size } = found.manifest
    const checkedAt = this.#confirmedAt(origin, currency, record)
    await metadata
      .setTag(origin.repository, tag, { digest, mediaType, size, etag, checkedAt })
      .catch((error: unknown) => observer.storeFailed('metadata', error))
    this.#absent.delete(origin.repository, tag)
    return { ...found, checkedAt, warning: currency.warning }
  }

  /** A cache's answer is as old as it says, but by half a TTL at most. A stale one confirms nothing. */
  #confirmedAt(origin: Origin, { age, warning }: Currency, record: TagRecord | undefined): number {
    const { ttl } = this.#options.policy(origin)
    const now = this.#options.now()
    if (warning !== undefined) return record?.checkedAt ?? now - Math.max(ttl, age)
    return now - Math.min(age, ttl / 2)
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
