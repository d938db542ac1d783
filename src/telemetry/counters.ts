import { type ContentKind, type FillEnd, type Outcome, outcomes } from '../cache/observer.ts'
import type { UpstreamErrorKind } from '../oci/error.ts'
import { Distribution } from './distribution.ts'
import type { RequestKind } from './request-fields.ts'

export type OutcomeCounts = Record<Outcome, number>
const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const
export type StatusClass = (typeof statusClasses)[number]

/** A part that the mirror can do without for a while. Without `storage`, misses pass through and are not kept. */
export const parts = ['storage', 'redis'] as const
export type Part = (typeof parts)[number]

/** `other` is every error that is not an UpstreamError, such as a body that does not match its digest. */
export type FailureKind = UpstreamErrorKind | 'other'

/** Counts for upstreams that are not configured, so that no name from outside adds a time series. */
const unknownUpstream = 'unknown'

const requestBounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15]
const fillBounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900]

export class UpstreamCounters {
  /** Answers by kind and outcome. */
  readonly answers: Record<ContentKind, OutcomeCounts> = { manifest: sumOutcomes(), blob: sumOutcomes() }
  readonly failures: Record<FailureKind, number> = {
    unreachable: 0,
    timeout: 0,
    'rate-limited': 0,
    unavailable: 0,
    denied: 0,
    protocol: 0,
    other: 0,
  }
  receivedBytes = 0
}

/** Everything that is counted since the start, as plain numbers: requests increment them, scrapes and statistics read them. */
export class Counters {
  readonly upstreams: Map<string, UpstreamCounters>
  readonly responses: Record<StatusClass, number> = { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 }
  readonly requestSeconds: Record<RequestKind, Distribution> = {
    manifest: new Distribution(requestBounds),
    blob: new Distribution(requestBounds),
    other: new Distribution(requestBounds),
  }
  readonly fills: Record<FillEnd, number> = { stored: 0, mismatch: 0, failed: 0, unwritable: 0, abandoned: 0 }
  readonly fillSeconds = new Distribution(fillBounds)
  readonly storeFailures = { content: 0, metadata: 0 }
  /** Parts that are known to be failing now. */
  readonly failing = new Set<Part>()
  fillsRunning = 0
  servedBytes = 0
  evictedBlobs = 0
  evictedBytes = 0
  damagedBlobs = 0
  probes = 0

  /** `upstreams`: the names of all configured upstreams. */
  constructor(upstreams: readonly string[]) {
    this.upstreams = new Map(upstreams.map((name) => [name, new UpstreamCounters()]))
  }

  upstream(name: string): UpstreamCounters {
    const known = this.upstreams.get(name) ?? this.upstreams.get(unknownUpstream)
    if (known) return known
    const unknown = new UpstreamCounters()
    this.upstreams.set(unknownUpstream, unknown)
    return unknown
  }

  /** A response was sent, or the client left during it. */
  responded(status: number): void {
    const statusClass = statusClasses[Math.floor(status / 100) - 1]
    if (statusClass) this.responses[statusClass] += 1
  }
}

/** Nothing, or the sum of some. */
export function sumOutcomes(counts: Iterable<OutcomeCounts> = []): OutcomeCounts {
  const total = { hit: 0, miss: 0, collapsed: 0, revalidated: 0, stale: 0 }
  for (const each of counts) for (const outcome of outcomes) total[outcome] += each[outcome]
  return total
}
