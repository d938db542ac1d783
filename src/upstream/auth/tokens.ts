import { LRUCache } from 'lru-cache'
import { UpstreamError } from '../../oci/error.ts'
import { parseObject } from '../../oci/manifest.ts'
import { withTimeLimit } from '../../oci/time-limit.ts'
import { statusError } from '../failure.ts'
import { judgeRefusal } from '../judge.ts'
import { targetRefusal } from '../target.ts'
import { readWhole } from '../transfer/body.ts'
import type { UpstreamLimits } from '../transfer/limits.ts'
import { contentLengthOf, locationOf, type Response, retryAfterOf } from '../transfer/response.ts'
import { type Transport, userAgent } from '../transfer/transport.ts'
import type { Credentials, Login } from './credentials.ts'
import { mayReceiveLogin } from './realm.ts'

/** Where to get a token, and for what, as a challenge says it. */
export interface TokenSource {
  readonly realm: string
  readonly service: string | undefined
  readonly scope: string | undefined
}

export interface Token {
  readonly value: string
  /** Epoch milliseconds; somewhat earlier than the registry's own time. */
  readonly expiresAt: number
}

/** The login was refused or cannot be used. The caller may go on without it. */
export class LoginUnavailable extends Error {
  override readonly name = 'LoginUnavailable'
}

export interface TokensOptions {
  readonly upstream: string
  readonly home: URL
  readonly tokenRealm: string | undefined
  readonly limits: UpstreamLimits
  readonly now: () => number
  readonly transport: Transport
  readonly credentials: Credentials
}

/** Seconds. The minimum also counts where the service does not say (distribution, spec/auth/token). */
const minLifetime = 60
const maxLifetime = 24 * 60 * 60
/** A token counts for this share of its lifetime, so that it does not expire on its way. */
const usedShare = 0.9

/**
 * Bearer tokens. Each is kept for its realm, service, scope and login, and is fetched once for all requests that wait
 * for it.
 */
export class Tokens {
  readonly #options: TokensOptions
  readonly #tokens = new LRUCache<string, Token>({
    max: 4096,
    maxSize: 16 * 1024 * 1024,
    sizeCalculation: ({ value }, key) => value.length + key.length,
  })
  readonly #fetches = new Map<string, Promise<Token | undefined>>()

  constructor(options: TokensOptions) {
    this.#options = options
  }

  /** A kept token that has not expired. */
  kept(source: TokenSource, login: Login | undefined): Token | undefined {
    const token = this.#tokens.get(keyOf(source, login))
    return token && token.expiresAt > this.#options.now() ? token : undefined
  }

  /** Undefined where the service refuses the scope. Throws LoginUnavailable where it refuses the login. */
  async fetch(source: TokenSource, login: Login | undefined, signal: AbortSignal): Promise<Token | undefined> {
    const key = keyOf(source, login)
    const running = this.#fetches.get(key)
    if (running) return withTimeLimit({ signal }, () => running)
    // Shared, and therefore with a time limit of its own: the request that began it may be cancelled.
    const begun = this.#request(source, login)
    begun.catch(() => {})
    this.#fetches.set(key, begun)
    return withTimeLimit({ signal }, () => begun)
  }

  drop(source: TokenSource, login: Login | undefined, token: Token): void {
    const key = keyOf(source, login)
    if (this.#tokens.peek(key) === token) this.#tokens.delete(key)
  }

  async #request(source: TokenSource, login: Login | undefined): Promise<Token | undefined> {
    const { upstream, limits } = this.#options
    const key = keyOf(source, login)
    const error = () => new UpstreamError(upstream, 'timeout', `no token within ${limits.token / 1000} s`)
    try {
      const token = await withTimeLimit({ timeout: limits.token, error }, (signal) =>
        login ? this.#logIn(source, login, signal) : this.#ask(source, undefined, signal),
      )
      if (token) this.#tokens.set(key, token)
      return token
    } finally {
      this.#fetches.delete(key)
    }
  }

  async #logIn(source: TokenSource, login: Login, signal: AbortSignal): Promise<Token | undefined> {
    using attempt = await this.#options.credentials.attempt(login, signal)
    if (!attempt) throw new LoginUnavailable()
    const token = await this.#ask(source, login, signal, () => attempt.refused('the token service refused the login'))
    if (token) attempt.accepted()
    return token
  }

  async #ask(
    source: TokenSource,
    login: Login | undefined,
    signal: AbortSignal,
    onRefused = () => {},
  ): Promise<Token | undefined> {
    const response = await this.#send(source, login, signal)
    const { status, headers, body } = response
    if (status === 200) return this.#read(response)
    await this.#refusePage(response)
    body.discard()
    if (status === 401 && login) {
      onRefused()
      throw new LoginUnavailable()
    }
    // ghcr.io and GitLab refuse a token for a repository that is private or absent.
    if (status === 401 || status === 403) return undefined
    const { upstream, now } = this.#options
    throw statusError(upstream, 'token service', status, retryAfterOf(headers, now()))
  }

  /** Throws where a 403 is a page for a person: an outage. A service that refuses says so in JSON, if it says anything. */
  async #refusePage(response: Response): Promise<void> {
    const { upstream, limits } = this.#options
    const verdict = judgeRefusal(response)
    if (verdict === 'refusal') return
    const { body, headers, status } = response
    if (verdict === 'text') {
      const asked = { upstream, asked: 'GET token' }
      const bytes = await readWhole(body, contentLengthOf(headers), limits.tokenBytes, asked).catch(() => undefined)
      if (bytes && parseObject(bytes)) return
    }
    body.discard()
    throw new UpstreamError(upstream, 'unavailable', `token service answered ${status} and a page`, { status })
  }

  async #send(source: TokenSource, login: Login | undefined, signal: AbortSignal): Promise<Response> {
    const { upstream, home, tokenRealm, limits, transport, credentials } = this.#options
    let url = addressOf(source)
    for (let hop = 0; url && hop <= limits.redirects; hop += 1) {
      const refusal = targetRefusal(url, home)
      if (refusal) throw new UpstreamError(upstream, 'protocol', `token service refused: ${refusal}`)
      if (login && !mayReceiveLogin(url, home, tokenRealm)) {
        credentials.unusable(
          login,
          `the token service ${url.host} is on another domain than the registry, and is not its tokenRealm`,
        )
        throw new LoginUnavailable()
      }
      const headers = {
        'user-agent': userAgent,
        accept: 'application/json',
        ...(login && { authorization: login.basic }),
      }
      const response = await transport.send({ method: 'GET', url, headers, signal })
      const location = locationOf(response, url)
      if (location === 'none') return response
      response.body.discard()
      url = location
    }
    throw new UpstreamError(upstream, 'protocol', 'token service with no usable address, or too many redirects')
  }

  async #read({ headers, body }: Response): Promise<Token> {
    const { upstream, limits, now } = this.#options
    const bytes = await readWhole(body, contentLengthOf(headers), limits.tokenBytes, { upstream, asked: 'GET token' })
    const answer = parseObject(bytes) ?? {}
    const value = [answer['token'], answer['access_token']].find((text) => typeof text === 'string' && text !== '')
    if (typeof value !== 'string' || !/^[!-~]+$/.test(value)) {
      throw new UpstreamError(upstream, 'protocol', 'token service answered without a token')
    }
    const lifetime = Math.min(Math.max(Number(answer['expires_in']) || 0, minLifetime), maxLifetime)
    // Counted from now by our clock: `issued_at` is by the service's clock, which may differ.
    return { value, expiresAt: now() + lifetime * usedShare * 1000 }
  }
}

function addressOf({ realm, service, scope }: TokenSource): URL | null {
  const url = URL.parse(realm)
  if (url && service !== undefined) url.searchParams.set('service', service)
  if (url && scope !== undefined) url.searchParams.set('scope', scope)
  return url
}

function keyOf({ realm, service, scope }: TokenSource, login: Login | undefined): string {
  return JSON.stringify([realm, service ?? null, scope ?? null, login?.id ?? null])
}
