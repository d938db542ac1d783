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
  /** Bytes a second; 0 for no scrub. */
  readonly scrubRate: number
  /** Milliseconds since the last confirmation by an upstream, after which a tag is forgotten. */
  readonly forgetTagsAfter: number
  /** Tries whether a content store that has failed works again. Rejects where it does not. */
  readonly tryStorage: () => Promise<void>
}

const minute = 60_000
const day = 24 * 60 * minute

/** What runs by itself: eviction each minute; expiry of tags and scrub each day. */
export class Maintenance implements Disposable {
  readonly #options: MaintenanceOptions
  readonly #timers: NodeJS.Timeout[]

  constructor(options: MaintenanceOptions) {
    this.#options = options
    this.#timers = [
      setInterval(() => void this.#minutely(), minute).unref(),
      setInterval(() => void this.#daily(), day).unref(),
      // Not at once, to keep the start quick.
      setTimeout(() => void this.#daily(), 5 * minute).unref(),
    ]
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }

  async #minutely(): Promise<void> {
    const { eviction, observer, tryStorage } = this.#options
    // For blobs that are idle for too long, and for a disk that others fill.
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
