import { LRUCache } from 'lru-cache'
import { UpstreamError } from '../oci/error.ts'
import { isBrokenConnection } from './failure.ts'

/** Epoch milliseconds. */
type Clock = () => number

const quarterHour = 15 * 60 * 1000

/**
 * What has been learnt of a registry's HEADs, so that a useless one is not sent again and again before the GET that
 * answers. Kept for each repository, and not for long: one bad moment of Docker Hub's must not turn every HEAD, which it
 * does not count, into a GET, which it does.
 */
export class HeadSupport {
  readonly #useless: LRUCache<string, true>
  readonly #confirmed: LRUCache<string, true>

  constructor(now: Clock) {
    const options = { max: 4096, ttl: quarterHour, ttlResolution: 0, perf: { now } }
    this.#useless = new LRUCache(options)
    this.#confirmed = new LRUCache(options)
  }

  isUseless(kind: 'manifest' | 'blob', repository: string): boolean {
    return this.#useless.has(`${kind} ${repository}`)
  }

  /** A GET has brought what HEAD did not tell. */
  markUseless(kind: 'manifest' | 'blob', repository: string): void {
    this.#useless.set(`${kind} ${repository}`, true)
  }

  /** Whether a 401 or 403 to HEAD means the same as one to GET. */
  isConfirmed(path: string): boolean {
    return this.#confirmed.has(path)
  }

  confirm(path: string): void {
    this.#confirmed.set(path, true)
  }
}

/**
 * `unclear` where a HEAD failed in a way that its GET may not: mcr.microsoft.com has broken the connection on HEADs
 * (containerregistry#180), others answer 5xx. A registry that asks to be left alone for a while means it.
 */
export async function headOrUnclear<T>(ask: () => Promise<T>): Promise<T | 'unclear'> {
  try {
    return await ask()
  } catch (error) {
    const failed = error instanceof UpstreamError && error.kind === 'unavailable' && error.retryAfter === undefined
    if (failed || isBrokenConnection(error)) return 'unclear'
    throw error
  }
}
