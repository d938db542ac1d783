import type { ContentKind, FillEnd, FillReport, Observer, Outcome } from '../cache/observer.ts'
import type { Digest } from '../oci/digest.ts'
import { UpstreamError } from '../oci/error.ts'
import type { Counters, FailureKind } from './counters.ts'
import type { Log } from './log.ts'
import { Throttle } from './throttle.ts'

/** Milliseconds between two log lines about the same failure: of a store, and of an upstream. */
const storeInterval = 10_000
const upstreamInterval = 60_000

const fillLevels = {
  stored: 'info',
  abandoned: 'info',
  failed: 'warn',
  unwritable: 'error',
  mismatch: 'error',
} as const satisfies Record<FillEnd, 'info' | 'warn' | 'error'>

export interface TelemetryObserverOptions {
  readonly counters: Counters
  readonly log: Log
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Counts what the cache reports, and logs what a person may act on. A lasting failure is logged once per interval. */
export class TelemetryObserver implements Observer {
  readonly #counters: Counters
  readonly #log: Log
  readonly #stores: Throttle
  readonly #upstreams: Throttle

  constructor({ counters, log, now }: TelemetryObserverOptions) {
    this.#counters = counters
    this.#log = log
    this.#stores = new Throttle(storeInterval, now)
    this.#upstreams = new Throttle(upstreamInterval, now)
  }

  answered(kind: ContentKind, upstream: string, outcome: Outcome): void {
    this.#counters.upstream(upstream).answers[kind][outcome] += 1
  }

  received(upstream: string, bytes: number): void {
    this.#counters.upstream(upstream).receivedBytes += bytes
  }

  fillStarted(_upstream: string, _digest: Digest): void {
    this.#counters.fillsRunning += 1
  }

  fillEnded({ upstream, repository, digest, end, bytes, seconds, error }: FillReport): void {
    this.#counters.fillsRunning -= 1
    this.#counters.fills[end] += 1
    this.#counters.fillSeconds.observe(seconds)
    this.#log[fillLevels[end]]('fill ended', { upstream, repository, digest, end, bytes, seconds, error })
  }

  evicted({ blobs, bytes }: { blobs: number; bytes: number }): void {
    this.#counters.evictedBlobs += blobs
    this.#counters.evictedBytes += bytes
    this.#log.info('evicted', { blobs, bytes })
  }

  storeWorks(): void {
    if (this.#counters.failing.delete('storage')) this.#log.warn('the store works again: what comes is kept')
  }

  damaged(digest: Digest): void {
    this.#counters.damagedBlobs += 1
    this.#log.error('a stored blob was damaged, and was taken out', { digest })
  }

  probed(upstream: string, { address, userAgent }: { address: string; userAgent: string | undefined }): void {
    this.#counters.probes += 1
    this.#log.info('probe pulled: this client uses the mirror', { upstream, client: address, userAgent })
  }

  storeFailed(store: 'content' | 'metadata', error: unknown): void {
    this.#counters.storeFailures[store] += 1
    if (store === 'content') this.#counters.failing.add('storage')
    const suppressed = this.#stores.pass(store)
    if (suppressed !== undefined) this.#log.error('store failed', { store, error, suppressed })
  }

  upstreamFailed(upstream: string, error: unknown): void {
    const kind: FailureKind = error instanceof UpstreamError ? error.kind : 'other'
    const counters = this.#counters.upstream(upstream)
    counters.failures[kind] += 1
    const known = this.#counters.upstreams.has(upstream) ? upstream : ''
    const suppressed = this.#upstreams.pass(`${known} ${kind}`)
    if (suppressed === undefined) return
    // A refused login does not go away by itself.
    const level = kind === 'denied' ? 'error' : 'warn'
    this.#log[level]('upstream failed', { upstream, kind, error, suppressed })
  }
}
