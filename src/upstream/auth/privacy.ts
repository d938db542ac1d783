import type { Identity } from '../registry-client.ts'

export interface PrivacyOptions {
  readonly hasLogin: boolean
  readonly privateRepositories: 'refuse' | 'serve'
  /** Nobody was admitted without the login so far: called once, with the first repository that was refused. */
  readonly onUnreadable?: ((repository: string) => void) | undefined
}

/** Why something is refused that the login may be able to read. */
const unreadable = 'not readable without a login; privateRepositories: refuse'

/**
 * In whose name to ask. Most logins are configured for the rate limit alone, and must not open private repositories to
 * every client of the mirror. So, unless private repositories may be served, each piece of content has to be shown to a
 * stranger first:
 *
 *     content     | shown by                                        | had by
 *     a blob      | an anonymous GET: nobody counts those           | the same GET
 *     a manifest  | an anonymous HEAD that tells a rate limit       | a GET of that digest with the login, which is counted
 *                 | an anonymous GET, where no limit is told        | the same GET
 *
 * A name proves nothing: what is pushed to it next may be private. Neither does a HEAD where no limit makes the GET
 * another matter: some registries guard the GET alone.
 */
export class Privacy {
  /** Whether content must be shown to a stranger before it is served. */
  readonly mustProve: boolean
  /** For what is proven by being had, and for questions. */
  readonly identity: Identity
  readonly #onUnreadable: PrivacyOptions['onUnreadable']
  #isOpen = false
  /** The last repository that was refused, while nobody was admitted without the login. */
  #refused: string | undefined
  #isReported = false

  constructor({ hasLogin, privateRepositories, onUnreadable }: PrivacyOptions) {
    this.mustProve = hasLogin && privateRepositories === 'refuse'
    this.identity = hasLogin && !this.mustProve ? 'login' : 'anonymous'
    this.#onUnreadable = onUnreadable
  }

  /** Call when something was had. */
  admit(): void {
    this.#isOpen = true
    this.#refused = undefined
  }

  /** Call when a request has been refused. Returns the reason, if it is that the login may not be used. */
  refuse(repository: string): string | undefined {
    if (!this.mustProve) return undefined
    if (!this.#isOpen) {
      this.#refused = repository
      if (!this.#isReported) this.#onUnreadable?.(repository)
      this.#isReported = true
    }
    return unreadable
  }

  /** What an operator should know of an upstream that nobody may read without the login. */
  get notice(): string | undefined {
    return this.#refused === undefined ? undefined : `${this.#refused}: ${unreadable}`
  }
}
