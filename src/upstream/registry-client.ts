import { UpstreamError } from '../oci/error.ts'
import type { Authorizer, AuthScope, Grant } from './auth/authorizer.ts'
import type { Credentials, Login } from './auth/credentials.ts'
import { LoginUnavailable } from './auth/tokens.ts'
import { statusError } from './failure.ts'
import type { HealthProbe } from './rest.ts'
import { targetRefusal } from './target.ts'
import type { Body } from './transfer/body.ts'
import type { UpstreamLimits } from './transfer/limits.ts'
import { type Headers, headerOf, locationOf, type Response, retryAfterOf } from './transfer/response.ts'
import type { ResponseBody } from './transfer/response-body.ts'
import { type Request, type Transport, userAgent } from './transfer/transport.ts'

/**
 * In whose name to ask. `anonymous`: nobody's. `login`: ours; while it rests, what a stranger may not have is `denied`.
 * `public`: ours for its rate limit's sake, of what anybody may have; where it does not help, nobody's.
 */
export type Identity = 'anonymous' | 'login' | 'public'

export interface UpstreamRequest {
  readonly kind: 'manifest' | 'blob'
  readonly method: 'GET' | 'HEAD'
  readonly repository: string
  /** The path after `/v2/`. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly identity: Identity
  readonly signal: AbortSignal
  readonly health: HealthProbe
}

export interface UpstreamResponse<Content extends ResponseBody = Body> extends Response<Content> {
  /** Whether it came from a place without registry API that a registry sent us to. */
  readonly fromStorage: boolean
  readonly withLogin: boolean
}

export interface RegistryClientOptions {
  readonly upstream: string
  readonly home: URL
  readonly limits: UpstreamLimits
  readonly now: () => number
  readonly transport: Transport
  readonly authorizer: Authorizer
  readonly credentials: Credentials
  /** Of every answer of the registry's own; for its rate limits. */
  readonly onHeaders: (headers: Headers, withLogin: boolean) => void
}

/** By whom a request is sent. */
type Send<Content extends ResponseBody> = (request: Request) => Promise<Response<Content>>

/** Without a token, with one that was kept, with a new one. */
const maxAttempts = 3

/** One question to one registry, with whatever it takes in challenges, tokens and redirects to get it answered. */
export class RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #base: string

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#base = options.home.pathname.replace(/\/*$/, '/')
  }

  /**
   * `refused` where a registry said 401 or 403 to the best that could be shown, or its token service did. 429 and 5xx
   * are thrown; any other status is an answer.
   */
  ask(request: UpstreamRequest): Promise<UpstreamResponse | 'refused'> {
    return this.#ask(request, (request) => this.#options.transport.send(request))
  }

  /** The same, of whose body `size` bytes are expected, for a file. */
  download(request: UpstreamRequest, size: number | undefined): Promise<UpstreamResponse<ResponseBody> | 'refused'> {
    return this.#ask(request, (request) => this.#options.transport.download(request, size))
  }

  async #ask<Content extends ResponseBody>(
    request: UpstreamRequest,
    send: Send<Content>,
  ): Promise<UpstreamResponse<Content> | 'refused'> {
    const { upstream, credentials } = this.#options
    const { identity, method, health } = request
    health.asked()
    const login = identity === 'anonymous' ? undefined : await credentials.current()
    const known = login && (await this.#askAs(login, request, send))
    if (known && (known !== 'refused' || identity === 'login')) return known
    const answer = await this.#walk(request, undefined, send)
    // A HEAD may lie about who may have what; the GET that follows it decides.
    if (answer === 'refused' && identity === 'login' && method === 'GET') {
      throw new UpstreamError(upstream, 'denied', 'our login was refused and rests, and a stranger may not have this')
    }
    return answer
  }

  async #askAs<Content extends ResponseBody>(
    login: Login,
    request: UpstreamRequest,
    send: Send<Content>,
  ): Promise<UpstreamResponse<Content> | 'refused' | undefined> {
    try {
      return await this.#walk(request, login, send)
    } catch (error) {
      if (error instanceof LoginUnavailable) return undefined
      throw error
    }
  }

  async #walk<Content extends ResponseBody>(
    request: UpstreamRequest,
    login: Login | undefined,
    send: Send<Content>,
  ): Promise<UpstreamResponse<Content> | 'refused'> {
    const { upstream, home, limits } = this.#options
    let url = new URL(`${this.#base}v2/${request.path}`, home)
    let shown = login
    let withLogin = false
    for (let hop = 0; hop <= limits.redirects; hop += 1) {
      const isHome = url.origin === home.origin
      // Nor does the login come back: a stranger must not choose what our registry is asked for in our name.
      if (!isHome) shown = undefined
      const authScope = this.#authScopeAt(url, request, shown)
      const step = await this.#step(request, url, authScope, send)
      if (step === 'refused') return step
      withLogin ||= step.withLogin
      if (isHome) request.health.answered()
      const location = locationOf(step.response, url)
      if (location === 'none') return { ...step.response, fromStorage: authScope === undefined, withLogin }
      step.response.body.discard()
      const refusal = location ? targetRefusal(location, home) : 'no address'
      if (!location || refusal) throw new UpstreamError(upstream, 'protocol', `redirect refused: ${refusal}`)
      url = location
    }
    throw new UpstreamError(upstream, 'protocol', `more than ${limits.redirects} redirects`)
  }

  /** Undefined for a place that only stores: it knows no tokens, and must not see ours. */
  #authScopeAt(url: URL, request: UpstreamRequest, login: Login | undefined): AuthScope | undefined {
    const { origin, pathname } = url
    const isHome = origin === this.#options.home.origin
    const base = isHome ? this.#base : '/'
    const path = pathname.startsWith(base) ? pathname.slice(base.length) : ''
    // registry.k8s.io sends manifests to <region>-docker.pkg.dev, a registry with a challenge of its own.
    const repository = /^v2\/(.+)\/(?:manifests|blobs)\/[^/]+$/.exec(path)?.[1]
    // Artifact Registry keeps blobs under another path of its own host, where the same token is right.
    if (isHome) return { origin, base, repository: repository ?? request.repository, login }
    return repository === undefined ? undefined : { origin, base, repository, login: undefined }
  }

  async #step<Content extends ResponseBody>(
    request: UpstreamRequest,
    url: URL,
    authScope: AuthScope | undefined,
    send: Send<Content>,
  ): Promise<{ response: Response<Content>; withLogin: boolean } | 'refused'> {
    const { upstream, authorizer, credentials } = this.#options
    if (!authScope) return { response: await this.#send(request, url, undefined, send), withLogin: false }
    let grant = await authorizer.beforehand(authScope, request.signal)
    for (let attempt = 1; ; attempt += 1) {
      if (grant === 'refused') return grant
      const response = await this.#sendWith(grant, request, url, send)
      const { status } = response
      if (status !== 401 && status !== 403) return { response, withLogin: grant?.withLogin ?? false }
      response.body.discard()
      if (attempt === maxAttempts || (status === 403 && (!grant || grant.fresh))) return 'refused'
      const next = await authorizer.answer(response, grant, authScope, request.signal)
      if (next === 'none') {
        if (credentials.configured || request.method === 'HEAD') return 'refused'
        throw new UpstreamError(upstream, 'denied', `${url.host} wants a login, and none is configured`, { status })
      }
      grant = next
    }
  }

  async #sendWith<Content extends ResponseBody>(
    grant: Grant | undefined,
    request: UpstreamRequest,
    url: URL,
    send: Send<Content>,
  ): Promise<Response<Content>> {
    using used = grant
    const response = await this.#send(request, url, used, send)
    const isRejected = response.status === 401 || (response.status === 403 && !used?.fresh)
    if (isRejected) response.body.discard()
    if (isRejected) used?.rejected()
    else used?.accepted()
    return response
  }

  async #send<Content extends ResponseBody>(
    request: UpstreamRequest,
    url: URL,
    grant: Grant | undefined,
    send: Send<Content>,
  ): Promise<Response<Content>> {
    const { upstream, home, now, onHeaders } = this.#options
    const { kind, method, signal } = request
    const headers = {
      'user-agent': userAgent,
      'accept-encoding': 'identity',
      ...request.headers,
      ...(grant && { authorization: grant.authorization }),
    }
    const response = await send({ kind, method, url, headers, signal })
    if (url.origin === home.origin) onHeaders(response.headers, grant?.withLogin ?? false)
    const { status } = response
    if (isBlockPage(response)) {
      response.body.discard()
      const told = `${method} ${kind} at ${url.host} answered ${status} with a page: something in front refuses us`
      throw new UpstreamError(upstream, 'unavailable', told, { status })
    }
    if (status !== 429 && status < 500) return response
    response.body.discard()
    throw statusError(upstream, `${method} ${kind} at ${url.host}`, status, retryAfterOf(response.headers, now()))
  }
}

/**
 * A page for a person where a registry would answer in JSON: a firewall or a content network that blocks us. It says
 * nothing of the repository, so it is an outage, not absence.
 */
function isBlockPage({ status, headers }: Response<ResponseBody>): boolean {
  if (status !== 403 || headerOf(headers, 'www-authenticate') !== undefined) return false
  return /^\s*text\/html\b/i.test(headerOf(headers, 'content-type') ?? '')
}
