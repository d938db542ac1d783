import { LRUCache } from 'lru-cache'
import type { Identity } from '../registry-client.ts'

const quarterHour = 15 * 60 * 1000

export interface PrivacyOptions {
  readonly hasLogin: boolean
  readonly privateRepositories: 'refuse' | 'serve'
  /** Epoch milliseconds. */
  readonly now: () => number
}

/**
 * In whose name a repository is asked. Most logins are configured for the rate limit alone, and must not open private
 * repositories to everybody who reaches the mirror: unless told to serve those, the login is used only where a stranger
 * has been seen to get in, and that is believed for a quarter of an hour.
 */
export class Privacy {
  readonly #options: PrivacyOptions
  readonly #public: LRUCache<string, true>

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

  /** Whether a stranger has to be seen to get in before the login may be used. */
  needsProof(repository: string): boolean {
    return this.#options.hasLogin && this.identityFor(repository) === 'anonymous'
  }

  /** A stranger got in. */
  prove(repository: string): void {
    this.#public.set(repository, true)
  }
}
