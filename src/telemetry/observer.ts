import type { ContentKind, FillEnd, FillReport, Observer, Outcome } from '../cache/observer.ts'
import { UpstreamError } from '../oci/error.ts'
import type { Counters, FailureKind } from './counters.ts'
import type { Log } from './log.ts'
import { Throttle } from './throttle.ts'

const interval = 10_000

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

/** Counts what the cache reports, and logs what someone may want to act on: a failure that lasts, once in 10 s. */
export class TelemetryObserver implements Observer {
  readonly #counters: Counters
  readonly #log: Log
  readonly #throttle: Throttle

  constructor({ counters, log, now }: TelemetryObserverOptions) {
    this.#counters = counters
    this.#log = log
    this.#throttle = new Throttle(interval, now)
  }

  answered(kind: ContentKind, upstream: string, outcome: Outcome): void {
    this.#counters.upstream(upstream).answers[kind][outcome] += 1
  }

  received(upstream: string, bytes: number): void {
    this.#counters.upstream(upstream).receivedBytes += bytes
  }

  fillStarted(): void {
    this.#counters.fillsRunning += 1
  }

  fillEnded({ upstream, repository, digest, end, bytes, seconds, error }: FillReport): void {
    this.#counters.fillsRunning -= 1
    this.#counters.fills[end] += 1
    this.#counters.fillSeconds.observe(seconds)
    this.#log[fillLevels[end]]('fill ended', { upstream, repository, digest, end, bytes, seconds, error })
  }

  storeFailed(store: 'content' | 'metadata', error: unknown): void {
    this.#counters.storeFailures[store] += 1
    const suppressed = this.#throttle.pass(store)
    if (suppressed !== undefined) this.#log.error('store failed', { store, error, suppressed })
  }

  upstreamFailed(upstream: string, error: unknown): void {
    const kind: FailureKind = error instanceof UpstreamError ? error.kind : 'other'
    const counters = this.#counters.upstream(upstream)
    counters.failures[kind] += 1
    const known = this.#counters.upstreams.has(upstream) ? upstream : ''
    const suppressed = this.#throttle.pass(`${known} ${kind}`)
    if (suppressed === undefined) return
    // A refused login does not mend itself.
    const level = kind === 'denied' ? 'error' : 'warn'
    this.#log[level]('upstream failed', { upstream, kind, error, suppressed })
  }
}
