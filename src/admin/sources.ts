import type { TimeSeries } from '../telemetry/history.ts'
import type { MetricSources } from '../telemetry/metric-sources.ts'

/** One running fill. */
export interface FillProgress {
  readonly digest: string
  readonly repository: string
  /** Bytes of the whole blob; null where the upstream sends no length. */
  readonly size: number | null
  /** Bytes of it that are here. */
  readonly written: number
  readonly followers: number
  readonly seconds: number
}

export type Readiness = 'starting' | 'ready' | 'stopping'

/** What the admin listener asks the rest of the house for. Answers at once, from memory. */
export interface AdminSources extends MetricSources {
  readiness(): Readiness
  fills(): readonly FillProgress[]
  /** Blobs evicted, ever. */
  evictions(): number
  series(): TimeSeries
  /** What a client pulls to see that it uses this mirror: `entrepot/probe:<nonce>`. */
  probe(): string
}
