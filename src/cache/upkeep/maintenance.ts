import type { ContentIndex } from '../../metadata/content-index.ts'
import type { Observer } from '../observer.ts'
import type { Eviction } from './eviction.ts'
import type { Scrub } from './scrub.ts'

export interface MaintenanceOptions {
  readonly eviction: Eviction
  readonly scrub: Scrub
  readonly index: Pick<ContentIndex, 'expire'>
  readonly observer: Observer
  readonly now: () => number
  /** Bytes a second; 0 for no scrubbing. */
  readonly scrubRate: number
  /** Milliseconds after which a tag that nobody asked for is forgotten. */
  readonly forgetTagsAfter: number
  /** Where the content store has failed, whether it works again. Rejects where it does not. */
  readonly tryStorage: () => Promise<void>
}

const minute = 60_000
const day = 24 * 60 * minute

/** What is done from time to time without being asked, so that the cache can be left alone. */
export class Maintenance implements Disposable {
  readonly #options: MaintenanceOptions
  readonly #timers: NodeJS.Timeout[]

  constructor(options: MaintenanceOptions) {
    this.#options = options
    this.#timers = [
      setInterval(() => void this.#minutely(), minute).unref(),
      setInterval(() => void this.#daily(), day).unref(),
      // Not at once: a start has better things to do.
      setTimeout(() => void this.#daily(), 5 * minute).unref(),
    ]
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }

  async #minutely(): Promise<void> {
    const { eviction, observer, tryStorage } = this.#options
    // What has been idle for too long, and a disk that others fill.
    eviction.check()
    await tryStorage().catch((error: unknown) => observer.storeFailed('content', error))
  }

  async #daily(): Promise<void> {
    const { index, scrub, observer, now, scrubRate, forgetTagsAfter } = this.#options
    try {
      await index.expire(now() - forgetTagsAfter)
    } catch (error) {
      observer.storeFailed('metadata', error)
    }
    if (scrubRate > 0) await scrub.run(scrubRate)
  }
}
