import { LRUCache } from 'lru-cache'
import { UpstreamError } from '../oci/error.ts'
import { isBrokenConnection } from './failure.ts'

/** Epoch milliseconds. */
type Clock = () => number

const quarterHour = 15 * 60 * 1000

/**
 * Remembers where a registry's HEADs are useless, so that the GET that answers is sent at once. Remembers it per
 * repository and for a quarter of an hour: after one failure of Docker Hub, we must not send GETs, which count against
 * its rate limit, in place of HEADs, which do not.
 */
export class HeadSupport {
  readonly #useless: LRUCache<string, true>
  readonly #confirmed: LRUCache<string, true>
  readonly #answered = new Set<'manifest' | 'blob'>()

  constructor(now: Clock) {
    const options = { max: 4096, ttl: quarterHour, ttlResolution: 0, perf: { now } }
    this.#useless = new LRUCache(options)
    this.#confirmed = new LRUCache(options)
  }

  /** Whether a HEAD of this kind has ever found something. */
  hasAnswered(kind: 'manifest' | 'blob'): boolean {
    return this.#answered.has(kind)
  }

  /** Call when a HEAD has found something. */
  markAnswered(kind: 'manifest' | 'blob'): void {
    this.#answered.add(kind)
  }

  isUseless(kind: 'manifest' | 'blob', repository: string): boolean {
    return this.#useless.has(`${kind} ${repository}`)
  }

  /** Call when a GET brought what the HEAD before it did not. */
  markUseless(kind: 'manifest' | 'blob', repository: string): void {
    this.#useless.set(`${kind} ${repository}`, true)
  }

  /** Whether a GET of this path was refused like the HEAD before it. */
  isConfirmed(path: string): boolean {
    return this.#confirmed.has(path)
  }

  confirm(path: string): void {
    this.#confirmed.set(path, true)
  }
}

/**
 * Sends a HEAD. `unclear` where it fails in a way in which the GET may not: mcr.microsoft.com has broken the connection
 * on HEADs (containerregistry#180), other registries answer 5xx. A failure with `Retry-After` is thrown.
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
