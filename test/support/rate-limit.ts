import { type Answer, errorAnswer, type Headers } from './answer.ts'

export interface RateLimitOptions {
  readonly limit: number
  /** Seconds; told, and not kept: `RateLimit.reset` begins a new one. */
  readonly window: number
  /** For each login, where it differs from `limit`. */
  readonly loginLimit?: number
}

/** Docker Hub's: manifest GETs count, those answered 304 too; HEADs are told the numbers and do not count. */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #used = new Map<string | undefined, number>()

  constructor(options: RateLimitOptions) {
    this.#options = options
  }

  reset(): void {
    this.#used.clear()
  }

  /** The answer, with the numbers; or 429 in its place. */
  apply(answer: Answer, method: string, user: string | undefined): Answer {
    const { limit: common, loginLimit, window } = this.#options
    const limit = user === undefined ? common : (loginLimit ?? common)
    const used = (this.#used.get(user) ?? 0) + (method === 'GET' ? 1 : 0)
    this.#used.set(user, used)
    const headers: Headers = {
      'ratelimit-limit': `${limit};w=${window}`,
      'ratelimit-remaining': `${Math.max(0, limit - used)};w=${window}`,
    }
    if (method === 'GET' && used > limit) return errorAnswer(429, 'TOOMANYREQUESTS', headers)
    return { ...answer, headers: { ...answer.headers, ...headers } }
  }
}
