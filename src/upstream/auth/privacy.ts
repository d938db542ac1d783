import { LRUCache } from 'lru-cache'
import type { Identity } from '../registry-client.ts'

const quarterHour = 15 * 60 * 1000

export interface PrivacyOptions {
  readonly hasLogin: boolean
  readonly privateRepositories: 'refuse' | 'serve'
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Nobody was admitted without the login so far: called once, with the first repository that was refused. */
  readonly onUnreadable?: ((repository: string) => void) | undefined
}

/** Why something is refused that the login may be able to read. */
const unreadable = 'not readable without a login; privateRepositories: refuse'

/**
 * Decides in whose name to ask for a repository. Most logins are configured for the rate limit alone, and must not open
 * private repositories to every client of the mirror. So, unless private repositories may be served, the login is used
 * only where an anonymous request has succeeded within the last quarter of an hour.
 */
export class Privacy {
  readonly #options: PrivacyOptions
  readonly #public: LRUCache<string, true>
  #isOpen = false
  /** The last repository that was refused, while nobody was admitted without the login. */
  #refused: string | undefined
  #isReported = false

  constructor(options: PrivacyOptions) {
    this.#options = options
    this.#public = new LRUCache({ max: 4096, ttl: quarterHour, ttlResolution: 0, perf: { now: options.now } })
  }

  identityFor(repository: string): Identity {
    const { hasLogin, privateRepositories } = this.#options
    if (!hasLogin) return 'anonymous'
    if (privateRepositories === 'serve') return 'login'
    return this.#public.has(repository) ? 'public' : 'anonymous'
  }

  /** Whether an anonymous request must succeed before the login may be used. */
  needsProof(repository: string): boolean {
    return this.#options.hasLogin && this.identityFor(repository) === 'anonymous'
  }

  /** Call when an anonymous request has succeeded. */
  prove(repository: string): void {
    this.#isOpen = true
    this.#refused = undefined
    this.#public.set(repository, true)
  }

  /** Call when a request has been refused. Returns the reason, if it is that the login may not be used. */
  refuse(repository: string): string | undefined {
    if (!this.needsProof(repository)) return undefined
    if (!this.#isOpen) {
      this.#refused = repository
      if (!this.#isReported) this.#options.onUnreadable?.(repository)
      this.#isReported = true
    }
    return unreadable
  }

  /** What an operator should know of an upstream that nobody may read without the login. */
  get notice(): string | undefined {
    return this.#refused === undefined ? undefined : `${this.#refused}: ${unreadable}`
  }
}
