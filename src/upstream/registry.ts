import type { Digest } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import type { Reference } from '../oci/reference.ts'
import { Authorizer } from './auth/authorizer.ts'
import { type Credential, Credentials, type LoginRefusal } from './auth/credentials.ts'
import { Privacy } from './auth/privacy.ts'
import { Tokens } from './auth/tokens.ts'
import { RegistryBlobs } from './blobs.ts'
import { HeadSupport } from './head-support.ts'
import { type Fetched, type Missing, RegistryManifests, type RequestContext } from './manifests.ts'
import { MissingJudge } from './missing.ts'
import { pause } from './pause.ts'
import { parseRateLimit } from './rate-limit.ts'
import { RegistryClient } from './registry-client.ts'
import { Rest } from './rest.ts'
import { type Attempt, Attempts } from './transfer/attempts.ts'
import type { FetchPool } from './transfer/fetch-pool.ts'
import type { UpstreamLimits } from './transfer/limits.ts'
import type { Headers } from './transfer/response.ts'
import type { ResponseBody } from './transfer/response-body.ts'
import { Transport } from './transfer/transport.ts'
import type {
  BlobRest,
  BlobSource,
  BlobSpan,
  BlobToFile,
  KnownTag,
  Manifest,
  RateLimit,
  Resolution,
  Upstream,
  UpstreamStatus,
  Visibility,
} from './upstream.ts'

/** What a registry reports. Functions are quick and never throw. */
export interface UpstreamHooks {
  /** The login was refused, or cannot be used. An operator has to act. */
  readonly onRefused: (refusal: LoginRefusal) => void
  /** Only the login may read the upstream, as far as was seen, and it may not be used for that. Called once. */
  readonly onUnreadable?: ((repository: string) => void) | undefined
}

export interface RegistryUpstreamOptions {
  /** As users write it: `docker.io`. */
  readonly name: string
  /** The address: `https://registry-1.docker.io`. A path in it comes before `/v2/`. */
  readonly url: URL
  readonly credential?: Credential | undefined
  /** Where the login may go besides the registry's own domain: a host, a host with a port, or a URL. */
  readonly tokenRealm?: URL | string | undefined
  readonly privateRepositories: 'refuse' | 'serve'
  readonly limits: UpstreamLimits
  /** Fetch what is large. */
  readonly threads?: FetchPool | undefined
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly hooks: UpstreamHooks
}

/** An upstream that speaks the distribution API. It sends nothing before it is used. */
export class RegistryUpstream implements Upstream, AsyncDisposable {
  readonly name: string
  readonly servesPrivate: boolean
  readonly #limits: UpstreamLimits
  readonly #transport: Transport
  readonly #privacy: Privacy
  readonly #manifests: RegistryManifests
  readonly #blobs: RegistryBlobs
  readonly #rest: Rest
  #rateLimit: { readonly anonymous?: RateLimit; readonly login?: RateLimit } = {}

  constructor(options: RegistryUpstreamOptions) {
    const { name, url, credential, tokenRealm, privateRepositories, limits, threads, now, hooks } = options
    this.name = name
    this.servesPrivate = privateRepositories === 'serve'
    this.#limits = limits
    const upstream = name
    const credentials = new Credentials({ credential, rest: limits.refusedLogin, now, onRefused: hooks.onRefused })
    const transport = new Transport({ upstream, limits, threads })
    const realm = tokenRealm instanceof URL ? tokenRealm.href : tokenRealm
    const tokens = new Tokens({ upstream, home: url, tokenRealm: realm, limits, now, transport, credentials })
    const authorizer = new Authorizer({ upstream, tokens, credentials, transport, now })
    const onHeaders = this.#noteRateLimit.bind(this)
    const client = new RegistryClient({
      upstream,
      home: url,
      limits,
      now,
      transport,
      authorizer,
      credentials,
      onHeaders,
    })
    const headSupport = new HeadSupport(now)
    this.#transport = transport
    const { onUnreadable } = hooks
    this.#privacy = new Privacy({ hasLogin: credential !== undefined, privateRepositories, onUnreadable })
    const missing = new MissingJudge({ upstream, transport, now })
    this.#manifests = new RegistryManifests({ upstream, limits, client, headSupport, missing, now })
    this.#blobs = new RegistryBlobs({ upstream, client, headSupport, missing })
    const { rest: first, restMax: max, restRetryAfterMax: maxRetryAfter } = limits
    this.#rest = new Rest({ upstream, first, max, maxRetryAfter, now })
  }

  get restsUntil(): number | undefined {
    return this.#rest.until
  }

  overdue(): void {
    this.#rest.overdue()
  }

  async resolve(
    name: string,
    tag: string,
    known: KnownTag | undefined,
    signal: AbortSignal,
  ): Promise<Resolution | undefined> {
    const answer = await this.#rest.run(signal, async (health): Promise<Resolution | Missing> => {
      const { identity } = this.#privacy
      const found = await this.#manifests.find(name, { tag }, known, { identity, signal, health })
      if (typeof found === 'string') return found
      if (found.kind === 'manifest') return { kind: 'manifest', manifest: this.#manifestOf(found.fetched) }
      if (found.kind === 'unchanged') return { kind: 'unchanged', currency: found.currency }
      const { digest, mediaType, size, etag, currency } = found.head
      return { kind: 'descriptor', descriptor: { digest, mediaType, size }, etag, currency }
    })
    return this.#unlessMissing(name, answer)
  }

  async manifest(name: string, reference: Reference, signal: AbortSignal): Promise<Manifest | undefined> {
    const answer = await this.#rest.run(signal, async (health): Promise<Manifest | Missing> => {
      const { identity, mustProve } = this.#privacy
      const context = { identity, signal, health }
      const fetched = mustProve
        ? await this.#provenManifest(name, reference, context)
        : await this.#manifests.get(name, reference, context)
      return typeof fetched === 'string' ? fetched : this.#manifestOf(fetched)
    })
    return this.#unlessMissing(name, answer)
  }

  statBlob(
    name: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ size: number | undefined; visibility: Visibility } | undefined> {
    return this.#rest.run(signal, async (health) => {
      const { identity, mustProve } = this.#privacy
      const context = { identity, signal, health }
      const present = mustProve
        ? await this.#blobs.prove(name, digest, context)
        : await this.#blobs.stat(name, digest, context)
      return present && { size: present.size, visibility: this.#visibilityOf(present) }
    })
  }

  async blob(name: string, digest: Digest, span: BlobSpan, signal: AbortSignal): Promise<BlobSource | undefined> {
    const attempts = await this.#attempts(span.start, signal, (start, context) =>
      this.#blobs.open(name, digest, { ...span, start }, context),
    )
    if (!attempts) return undefined
    const { size } = attempts.current
    return { size, visibility: this.#visibilityOf(attempts.current), body: attempts.chunks() }
  }

  async download(name: string, digest: Digest, rest: BlobRest, signal: AbortSignal): Promise<BlobToFile | undefined> {
    const attempts = await this.#attempts(rest.start, signal, (start, context) =>
      this.#blobs.download(name, digest, { start, size: rest.size }, context),
    )
    if (!attempts) return undefined
    const { size } = attempts.current
    return {
      size,
      visibility: this.#visibilityOf(attempts.current),
      into: (file) => attempts.into(file),
      close: () => attempts.close(),
    }
  }

  status(): UpstreamStatus {
    const { requests, errors } = this.#transport
    const { anonymous, login } = this.#rateLimit
    const state = this.restsUntil === undefined ? 'ok' : 'resting'
    const notice = this.#privacy.notice ?? null
    return { name: this.name, state, requests, errors, rateLimit: login ?? anonymous ?? null, notice }
  }

  /** Ends everything that is running. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  /** A manifest that anyone may have: with the login only where the answer to a stranger's HEAD shows that GETs are counted. */
  async #provenManifest(name: string, reference: Reference, context: RequestContext): Promise<Fetched | Missing> {
    const found = await this.#manifests.find(name, reference, undefined, context)
    if (typeof found === 'string') return found
    if (found.kind === 'manifest') return found.fetched
    if (found.kind === 'unchanged' || !found.isCounted) return await this.#manifests.get(name, reference, context)
    const { digest, etag, currency } = found.head
    const fetched = await this.#manifests.get(name, { digest }, { ...context, identity: 'public' })
    return typeof fetched === 'string' ? fetched : { ...fetched, etag, currency }
  }

  async #attempts<Content extends ResponseBody>(
    start: number,
    signal: AbortSignal,
    open: Open<Content>,
  ): Promise<Attempts<Content> | undefined> {
    const closing = new AbortController()
    const either = AbortSignal.any([signal, closing.signal])
    const first = await this.#rest.run(either, (health) =>
      this.#open({ signal: either, health }, (context) => open(start, context)),
    )
    if (!first) return undefined
    this.#privacy.admit()
    return new Attempts({
      upstream: this.name,
      limits: this.#limits,
      start,
      first,
      // Not held up by a rest: its attempts are few, and a running body is what a rest is meant to spare for.
      reopen: (offset) =>
        this.#rest.bypass((health) => open(offset, { identity: this.#privacy.identity, signal: either, health })),
      signal: either,
      close: () => closing.abort(),
    })
  }

  async #open<Content extends ResponseBody>(
    context: Omit<RequestContext, 'identity'>,
    open: (context: RequestContext) => Promise<Attempt<Content> | undefined>,
  ): Promise<Attempt<Content> | undefined> {
    const { health, signal } = context
    let answered = false
    const watched = {
      asked: () => {
        answered = false
        health.asked()
      },
      answered: () => {
        answered = true
        health.answered()
      },
    }
    const { identity } = this.#privacy
    const attempt = () => open({ identity, signal, health: watched })
    try {
      return await attempt()
    } catch (error) {
      // The storage failed, not the registry: another redirect may lead to another storage host.
      if (!answered || !(error instanceof UpstreamError) || error.kind === 'protocol') throw error
      await pause(this.#limits.resumeDelay, signal)
      return attempt()
    }
  }

  #manifestOf({ withLogin, ...manifest }: Fetched): Manifest {
    return { ...manifest, visibility: this.#visibilityOf({ withLogin }) }
  }

  #visibilityOf({ withLogin }: { readonly withLogin: boolean }): Visibility {
    return withLogin && this.servesPrivate ? 'unproven' : 'public'
  }

  /** Absence and refusal, as the `Upstream` port reports them. */
  #unlessMissing<T extends object>(name: string, answer: T | Missing): T | undefined {
    if (answer === 'refused') throw new RegistryError('NAME_UNKNOWN', { detail: this.#privacy.refuse(name) })
    if (answer === 'absent') return undefined
    this.#privacy.admit()
    return answer
  }

  #noteRateLimit(headers: Headers, withLogin: boolean): void {
    const limit = parseRateLimit(headers)
    if (limit) this.#rateLimit = { ...this.#rateLimit, [withLogin ? 'login' : 'anonymous']: limit }
  }
}

/** Sends one request for a blob's bytes, from an offset on. */
type Open<Content extends ResponseBody> = (
  start: number,
  context: RequestContext,
) => Promise<Attempt<Content> | undefined>
