import { isDeepStrictEqual } from 'node:util'
import { LRUCache } from 'lru-cache'
import { statusError } from '../failure.ts'
import { type Response, retryAfterOf } from '../transfer/response.ts'
import { type Transport, userAgent } from '../transfer/transport.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { Credentials, Login } from './credentials.ts'
import { LoginUnavailable, type TokenSource, type Tokens } from './tokens.ts'

/** What a request is authorized for: one repository on one registry, with or without a login. */
export interface AuthScope {
  readonly origin: string
  /** The path before `v2/`, with its closing slash. */
  readonly base: string
  readonly repository: string
  readonly login: Login | undefined
}

/** The right to send one request. Dispose of it when the answer has arrived. */
export interface Grant extends Disposable {
  readonly authorization: string
  /** Whether it was obtained for this request, so that a refusal is final. */
  readonly fresh: boolean
  readonly withLogin: boolean
  /** Call when the registry accepts it. */
  accepted(): void
  /** Call when the registry rejects it. Throws LoginUnavailable where it rejected the login itself. */
  rejected(): void
}

/** What a registry demands for one repository. */
type Demand = { readonly kind: 'bearer'; readonly source: TokenSource } | { readonly kind: 'basic' }

export interface AuthorizerOptions {
  readonly upstream: string
  readonly tokens: Tokens
  readonly credentials: Credentials
  readonly transport: Transport
  /** Epoch milliseconds. */
  readonly now: () => number
}

const hour = 60 * 60 * 1000

/** Answers challenges and remembers them, so that the next request to the same repository carries a token at once. */
export class Authorizer {
  readonly #options: AuthorizerOptions
  readonly #demands = new LRUCache<string, Demand>({ max: 4096 })
  readonly #pings: LRUCache<string, { readonly challenges: readonly Challenge[] }>

  constructor(options: AuthorizerOptions) {
    this.#options = options
    this.#pings = new LRUCache({ max: 64, ttl: hour, ttlResolution: 0, perf: { now: options.now } })
  }

  /** For a first attempt. Undefined where no demand is known; `refused` where the token service refuses. */
  async beforehand(authScope: AuthScope, signal: AbortSignal): Promise<Grant | 'refused' | undefined> {
    const demand = this.#demands.get(keyOf(authScope))
    return demand && this.#satisfy(demand, authScope, signal)
  }

  /**
   * For a further attempt, after a 401 or 403 to `used`. `refused` where no better grant exists; `none` where the
   * registry names no scheme that we can use.
   */
  async answer(
    refusal: Pick<Response, 'status' | 'headers'>,
    used: Grant | undefined,
    authScope: AuthScope,
    signal: AbortSignal,
  ): Promise<Grant | 'refused' | 'none'> {
    const known = this.#demands.get(keyOf(authScope))
    const stated = demandOf(challengesOf(refusal), authScope)
    if (used?.fresh && (!stated || isDeepStrictEqual(stated, known))) return 'refused'
    // Some 401s have no challenge: gcr.io's to real requests, dhi.io's to an expired token.
    const demand = stated ?? known ?? (await this.#ping(authScope, signal))
    if (!demand) return 'none'
    this.#demands.set(keyOf(authScope), demand)
    return this.#satisfy(demand, authScope, signal)
  }

  async #satisfy(demand: Demand, authScope: AuthScope, signal: AbortSignal): Promise<Grant | 'refused'> {
    const { tokens } = this.#options
    const { login } = authScope
    if (demand.kind === 'basic') return login ? this.#basic(login, signal) : 'refused'
    const kept = tokens.kept(demand.source, login)
    const token = kept ?? (await tokens.fetch(demand.source, login, signal))
    if (!token) return 'refused'
    return {
      authorization: `Bearer ${token.value}`,
      fresh: token !== kept,
      withLogin: login !== undefined,
      accepted() {},
      rejected: () => tokens.drop(demand.source, login, token),
      [Symbol.dispose]() {},
    }
  }

  async #basic(login: Login, signal: AbortSignal): Promise<Grant> {
    const attempt = await this.#options.credentials.attempt(login, signal)
    if (!attempt) throw new LoginUnavailable()
    return {
      authorization: login.basic,
      fresh: true,
      withLogin: true,
      accepted: () => attempt.accepted(),
      rejected: () => {
        attempt.refused('the registry refused the login')
        throw new LoginUnavailable()
      },
      [Symbol.dispose]: () => attempt[Symbol.dispose](),
    }
  }

  async #ping(authScope: AuthScope, signal: AbortSignal): Promise<Demand | undefined> {
    const { upstream, transport, now } = this.#options
    const url = new URL(`${authScope.base}v2/`, authScope.origin)
    let ping = this.#pings.get(url.href)
    if (!ping) {
      const headers = { 'user-agent': userAgent }
      const response = await transport.send({ method: 'GET', url, headers, signal })
      response.body.discard()
      const { status } = response
      if (status === 429 || status >= 500) {
        throw statusError(upstream, 'ping', status, retryAfterOf(response.headers, now()))
      }
      ping = { challenges: challengesOf(response) }
      this.#pings.set(url.href, ping)
    }
    const demand = demandOf(ping.challenges, authScope)
    if (demand?.kind !== 'bearer' || demand.source.scope !== undefined) return demand
    // A challenge to a ping cannot name the repository, so this is the scope of the distribution specification.
    return { kind: 'bearer', source: { ...demand.source, scope: `repository:${authScope.repository}:pull` } }
  }
}

function challengesOf({ status, headers }: Pick<Response, 'status' | 'headers'>): readonly Challenge[] {
  return status === 401 ? parseChallenges(headers['www-authenticate']) : []
}

function demandOf(challenges: readonly Challenge[], { login }: AuthScope): Demand | undefined {
  for (const { scheme, parameters } of challenges) {
    const realm = parameters.get('realm')
    if (scheme !== 'bearer' || realm === undefined) continue
    return { kind: 'bearer', source: { realm, service: parameters.get('service'), scope: parameters.get('scope') } }
  }
  return login && challenges.some(({ scheme }) => scheme === 'basic') ? { kind: 'basic' } : undefined
}

function keyOf({ origin, repository }: AuthScope): string {
  return `${origin} ${repository}`
}
