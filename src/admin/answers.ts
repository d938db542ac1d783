import type { Fill } from '../cache/fill/fill.ts'
import type { ContentKind, ScrubReport } from '../cache/observer.ts'
import type { CachedImage } from '../cache/upkeep/images.ts'
import type { PurgeReport } from '../cache/upkeep/purge.ts'
import type { FailureKind, OutcomeCounts } from '../telemetry/counters.ts'
import type { TimeSeries } from '../telemetry/history.ts'
import type { UpstreamReport } from '../telemetry/metric-sources.ts'

/**
 * What the paths below `/api/` answer, as JSON. The listener sends these types and the commands read them;
 * `deploy/openapi.yaml` describes them to others, and a test compares both.
 */
export interface AdminApi {
  readonly GET: {
    readonly stats: StatsAnswer
    readonly upstreams: readonly UpstreamAnswer[]
    readonly fills: readonly FillProgress[]
    readonly images: ImagesAnswer
    readonly pins: { readonly pins: readonly string[] }
    readonly scrub: ScrubReport
  }
  readonly POST: {
    readonly evict: { readonly blobs: number; readonly bytes: number }
    readonly pins: PinAnswer
    readonly scrub: ScrubReport
  }
  /** Each path ends with a name: `images/docker.io/library/alpine:3.20`. */
  readonly DELETE: {
    readonly images: PurgeReport
    readonly repositories: PurgeReport
    readonly blobs: PurgeReport
    readonly pins: PinAnswer
  }
}

/** Counts since the data folder was made; bytes and seconds. */
export interface StatsAnswer {
  readonly requests: Readonly<Record<ContentKind, OutcomeCounts>>
  /** The share of answers that moved no content from upstream for themselves; 0 before the first answer. */
  readonly hitRatio: number
  readonly bytes: { readonly served: number; readonly fromUpstream: number; readonly saved: number }
  /** `max` is 0 if there is no bound. */
  readonly storage: { readonly used: number; readonly max: number; readonly blobs: number }
  readonly upstreams: readonly UpstreamReport[]
  readonly fills: number
  readonly evictions: number
  readonly series: TimeSeries
  /** The image that only this mirror has: a client that can pull it uses the mirror. */
  readonly probe: string
  readonly uptime: number
}

export interface UpstreamAnswer extends UpstreamReport {
  /** Failures that led to a stale answer or none, since the start. */
  readonly failures: Readonly<Record<FailureKind, number>>
  /** What an operator should know and do something about; null if there is nothing. */
  readonly notice: string | null
}

/** A running fill. */
export type FillProgress = Fill['progress']

export interface ImagesAnswer {
  readonly images: readonly CachedImage[]
  /** The parameter `after` for the next page; null if there is none. */
  readonly next: string | null
}

export interface PinAnswer {
  readonly pattern: string
}

export interface ProblemAnswer {
  readonly errors: readonly { readonly code: string; readonly message: string }[]
}
