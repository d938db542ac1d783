import { UpstreamError } from '../oci/error.ts'
import { parseObject } from '../oci/manifest.ts'
import type { Authorizer, AuthScope, Grant } from './auth/authorizer.ts'
import type { Credentials, Login } from './auth/credentials.ts'
import { LoginUnavailable } from './auth/tokens.ts'
import { readDecoded } from './content-coding.ts'
import { statusError } from './failure.ts'
import { judgeRefusal } from './judge.ts'
import type { HealthProbe } from './rest.ts'
import { targetRefusal } from './target.ts'
import { Body } from './transfer/body.ts'
import type { UpstreamLimits } from './transfer/limits.ts'
import { type Headers, locationOf, type Response, retryAfterOf } from './transfer/response.ts'
import type { ResponseBody } from './transfer/response-body.ts'
import { type Request, type Transport, userAgent } from './transfer/transport.ts'

/**
 * In whose name to ask. `anonymous`: without the login. `login`: with the login; while that rests, what needs it is
 * `denied`. `public`: for content that anybody may have, with the login for its rate limit; without it where that
 * fails.
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
  /**
   * The address of the API (`/v2/`) of the registry that answered; undefined where a storage host answered, to which the
   * registry redirected.
   */
  readonly api: URL | undefined
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
  /** Called with the headers of every answer from the registry itself, for its rate limits. */
  readonly onHeaders: (headers: Headers, withLogin: boolean) => void
}

/** By whom a request is sent. */
type Send<Content extends ResponseBody> = (request: Request) => Promise<Response<Content>>

/** One without a token, one with a kept token, one with a new token. */
const maxAttempts = 3

/** Sends a request to one registry, and does all that it takes to get an answer: challenges, tokens and redirects. */
export class RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #base: string

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#base = options.home.pathname.replace(/\/*$/, '/')
  }

  /**
   * `refused` where the registry or its token service answered 401 or 403 to the best authorization that we have.
   * Throws for 429 and 5xx; any other status is an answer.
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
    // A HEAD may be refused although the GET is not. The GET that follows decides.
    if (answer === 'refused' && identity === 'login' && method === 'GET') {
      throw new UpstreamError(
        upstream,
        'denied',
        `${method} ${request.kind}: our login was refused and is not used for now, and anonymous access is refused`,
      )
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
    const asked = `${request.method} ${request.kind}`
    let url = new URL(`${this.#base}v2/${request.path}`, home)
    let shown = login
    let withLogin = false
    for (let hop = 0; hop <= limits.redirects; hop += 1) {
      const isHome = url.origin === home.origin
      // The login is dropped for good: another host must not choose what we ask our registry for with it.
      if (!isHome) shown = undefined
      const authScope = this.#authScopeAt(url, request, shown)
      const step = await this.#step(request, url, authScope, send)
      if (step === 'refused') return step
      withLogin ||= step.withLogin
      if (isHome) request.health.answered()
      const location = locationOf(step.response, url)
      if (location === 'none') {
        // A registry may keep its storage on another path of its own host.
        const isApi = authScope !== undefined && this.#repositoryAt(url) !== undefined
        const api = isApi ? new URL(`${authScope.base}v2/`, authScope.origin) : undefined
        return { ...step.response, api, withLogin }
      }
      step.response.body.discard()
      const refusal = location ? targetRefusal(location, home) : 'no address'
      if (!location || refusal) throw new UpstreamError(upstream, 'protocol', `${asked}: redirect refused: ${refusal}`)
      url = location
    }
    throw new UpstreamError(upstream, 'protocol', `${asked}: more than ${limits.redirects} redirects`)
  }

  /** Undefined for a storage host: it knows no tokens, and must not get ours. */
  #authScopeAt(url: URL, request: UpstreamRequest, login: Login | undefined): AuthScope | undefined {
    const { origin } = url
    const isHome = origin === this.#options.home.origin
    const base = isHome ? this.#base : '/'
    // registry.k8s.io redirects manifests to <region>-docker.pkg.dev, which is a registry with its own challenge.
    const repository = this.#repositoryAt(url)
    // Artifact Registry redirects blobs to another path of its own host, where the same token is valid.
    if (isHome) return { origin, base, repository: repository ?? request.repository, login }
    return repository === undefined ? undefined : { origin, base, repository, login: undefined }
  }

  /** The repository of a path of the API; undefined for any other path. */
  #repositoryAt({ origin, pathname }: URL): string | undefined {
    const base = origin === this.#options.home.origin ? this.#base : '/'
    const path = pathname.startsWith(base) ? pathname.slice(base.length) : ''
    return /^v2\/(.+)\/(?:manifests|blobs)\/[^/]+$/.exec(path)?.[1]
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
        const what = `${request.method} ${request.kind}: ${url.host} demands a login, and none is configured`
        throw new UpstreamError(upstream, 'denied', what, { status })
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
    const response = await send({ method, url, headers, signal })
    if (url.origin === home.origin) onHeaders(response.headers, grant?.withLogin ?? false)
    const { status } = response
    if (await this.#isPage(response, method)) {
      response.body.discard()
      const told = `${method} ${kind} at ${url.host} was answered with ${status} and a page: a firewall or proxy refuses us`
      throw new UpstreamError(upstream, 'unavailable', told, { status })
    }
    if (status !== 429 && status < 500) return response
    response.body.discard()
    throw statusError(upstream, `${method} ${kind} at ${url.host}`, status, retryAfterOf(response.headers, now()))
  }

  /** Whether it is a page for a person, which says nothing about the repository: an outage, and not absence. */
  async #isPage(response: Response<ResponseBody>, method: 'GET' | 'HEAD'): Promise<boolean> {
    const verdict = judgeRefusal(response)
    const { headers, body, status } = response
    if (verdict !== 'text' || method === 'HEAD' || !(body instanceof Body)) return verdict !== 'refusal'
    const { upstream, limits } = this.#options
    const request = { upstream, asked: method }
    const bytes = await readDecoded({ status, headers, body }, limits.tokenBytes, request).catch(() => undefined)
    // Go's net/http calls JSON text where nobody says what it is.
    return bytes === undefined || parseObject(bytes) === undefined
  }
}
