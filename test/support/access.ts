import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type Answer, errorAnswer, jsonAnswer } from './answer.ts'
import type { Content } from './content.ts'
import type { Authorization } from './request-log.ts'

export interface BearerOptions {
  readonly kind: 'bearer'
  /**
   * Where the challenge sends clients for a token: `self` (`<url>/token`, the default), `elsewhere` (the same service
   * under the other host name, as Docker Hub's is), or a URL that is not this registry's at all.
   */
  readonly realm?: string
  readonly service?: string
  /** The one scope every challenge names and every token is for (public.ecr.aws: `aws`), instead of repository scopes. */
  readonly scopeFromChallenge?: string
  /** Seconds; 300 unless given. */
  readonly tokenTtl?: number
  readonly omitExpiresIn?: boolean
  /** `token` unless given. */
  readonly tokenField?: 'token' | 'access_token'
  readonly users?: Readonly<Record<string, string>>
  /** Readable with a login only. */
  readonly privateRepositories?: ReadonlySet<string>
  /** Which private repositories a login may read; all, unless given. */
  readonly mayRead?: (user: string, repository: string) => boolean
  /** Docker Hub: a token for anyone asking, then 401 `insufficient_scope` for what is private or absent. */
  readonly issueTokensForAnything?: boolean
  /** ghcr.io: absent repositories are refused like private ones. */
  readonly hideAbsent?: boolean
  /** False: no token without a login. */
  readonly anonymous?: boolean
  /** False: only /v2/ challenges; elsewhere a bare 401 (gcr.io). */
  readonly challengeOnRealRequests?: boolean
  /** Basic and Bearer in one header, in odd casing. */
  readonly multipleChallenges?: boolean
}

export interface BasicOptions {
  readonly kind: 'basic'
  readonly users: Readonly<Record<string, string>>
}

export type AuthOptions = BearerOptions | BasicOptions

export interface Identity {
  readonly authorization: Authorization
  readonly user: string | undefined
}

interface Token {
  readonly user: string | undefined
  /** Repositories; undefined: all of them. */
  readonly pulls: ReadonlySet<string> | undefined
  expiresAt: number
}

/** Who may read what: challenges, the token endpoint, and the tokens it gave out. */
export class Access {
  readonly #options: AuthOptions | undefined
  readonly #content: Content
  readonly #realm: () => string
  readonly #tokens = new Map<string, Token>()

  constructor(options: AuthOptions | undefined, content: Content, realm: () => string) {
    this.#options = options
    this.#content = content
    this.#realm = realm
  }

  /** Tokens given out so far that are still good. */
  get liveTokens(): number {
    return [...this.#tokens.values()].filter(({ expiresAt }) => expiresAt > Date.now()).length
  }

  expireTokens(): void {
    for (const token of this.#tokens.values()) token.expiresAt = 0
  }

  identify(request: IncomingMessage): Identity {
    const header = request.headers.authorization
    if (header === undefined) return { authorization: 'none', user: undefined }
    if (/^basic /i.test(header)) return { authorization: 'basic', user: this.#login(header) }
    const token = this.#tokens.get(bearer(header))
    if (!token) return { authorization: 'unknown', user: undefined }
    return { authorization: token.user === undefined ? 'anonymous' : 'login', user: token.user }
  }

  /** Undefined where the request may go on; `repository` is undefined for /v2/. */
  refuse(request: IncomingMessage, repository: string | undefined): Answer | undefined {
    const options = this.#options
    if (!options) return undefined
    const header = request.headers.authorization
    if (options.kind === 'basic') {
      return this.#login(header) === undefined ? unauthorized('Basic realm="Registry"') : undefined
    }
    if (header === undefined) return this.#challenge(options, repository)
    const token = this.#tokens.get(bearer(header))
    if (!token || token.expiresAt <= Date.now()) return this.#challenge(options, repository, 'invalid_token')
    const granted = repository === undefined || !token.pulls || token.pulls.has(repository)
    return granted ? undefined : this.#challenge(options, repository, 'insufficient_scope')
  }

  /** The token endpoint. */
  issue(request: IncomingMessage, query: URLSearchParams): Answer {
    const options = this.#options
    if (options?.kind !== 'bearer' || request.method !== 'GET') return errorAnswer(404, 'UNSUPPORTED')
    const header = request.headers.authorization
    const user = this.#login(header)
    const strangers = options.anonymous ?? true
    if (user === undefined && (header !== undefined || !strangers)) return errorAnswer(401, 'UNAUTHORIZED')
    if (query.get('service') !== serviceOf(options)) return errorAnswer(400, 'UNSUPPORTED')
    const scopes = scopesOf(query)
    if (options.scopeFromChallenge !== undefined) {
      return scopes.includes(options.scopeFromChallenge)
        ? this.#grant(options, user, undefined)
        : errorAnswer(400, 'UNSUPPORTED')
    }
    const asked = scopes.flatMap((scope) => repositoryOf(scope) ?? [])
    const pulls = asked.filter((repository) => this.#mayPull(options, user, repository))
    const complete = pulls.length === asked.length || options.issueTokensForAnything
    return complete ? this.#grant(options, user, new Set(pulls)) : errorAnswer(403, 'DENIED')
  }

  #grant(options: BearerOptions, user: string | undefined, pulls: ReadonlySet<string> | undefined): Answer {
    const ttl = options.tokenTtl ?? 300
    const token = randomBytes(24).toString('base64url')
    this.#tokens.set(token, { user, pulls, expiresAt: Date.now() + ttl * 1000 })
    return jsonAnswer(200, {
      [options.tokenField ?? 'token']: token,
      ...(!options.omitExpiresIn && { expires_in: ttl }),
    })
  }

  #mayPull(options: BearerOptions, user: string | undefined, repository: string): boolean {
    if (!this.#content.has(repository)) return !options.issueTokensForAnything && !options.hideAbsent
    if (!options.privateRepositories?.has(repository)) return true
    return user !== undefined && (options.mayRead?.(user, repository) ?? true)
  }

  #challenge(options: BearerOptions, repository: string | undefined, error?: string): Answer {
    if (options.challengeOnRealRequests === false && repository !== undefined) return unauthorized(undefined)
    const scope = options.scopeFromChallenge ?? (repository && `repository:${repository}:pull`)
    const parameters = [
      `realm="${this.#realm()}"`,
      `service="${serviceOf(options)}"`,
      ...(scope ? [`scope="${scope}"`] : []),
      ...(error ? [`error="${error}"`] : []),
    ]
    if (!options.multipleChallenges) return unauthorized(`Bearer ${parameters.join(',')}`)
    return unauthorized(`bAsIC realm="Registry", BEARER ${parameters.join(' , ').replace('realm=', 'Realm=')}`)
  }

  /** The user, where name and password are right. */
  #login(header: string | undefined): string | undefined {
    const encoded = /^basic (.+)$/i.exec(header ?? '')?.[1]
    const [, name = '', password = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded ?? '', 'base64').toString()) ?? []
    const users = this.#options?.users ?? {}
    return Object.hasOwn(users, name) && users[name] === password ? name : undefined
  }
}

/** The repositories that a token request names, in order. */
export function repositoriesOf(query: URLSearchParams): string[] {
  return scopesOf(query).flatMap((scope) => repositoryOf(scope) ?? [])
}

function scopesOf(query: URLSearchParams): string[] {
  return query.getAll('scope').flatMap((scope) => scope.split(' '))
}

function repositoryOf(scope: string): string | undefined {
  return /^repository:(.+):(?:[a-z*]+,)*pull(?:,[a-z*]+)*$/.exec(scope)?.[1]
}

function serviceOf({ service = 'test-registry' }: BearerOptions): string {
  return service
}

function bearer(header: string): string {
  return header.replace(/^bearer +/i, '')
}

function unauthorized(challenge: string | undefined): Answer {
  const answer = errorAnswer(401, 'UNAUTHORIZED', challenge === undefined ? {} : { 'www-authenticate': challenge })
  return { ...answer, challenge: true }
}
