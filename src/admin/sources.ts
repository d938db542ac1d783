import type { TimeSeries } from '../telemetry/history.ts'
import type { MetricSources, UpstreamReport } from '../telemetry/metric-sources.ts'
import type { FillProgress, UpstreamAnswer } from './answers.ts'

export type Readiness = 'starting' | 'ready' | 'stopping'

/** Values that the admin listener reads from other rooms. */
export interface AdminSources extends MetricSources {
  upstreams(): readonly (UpstreamReport & Pick<UpstreamAnswer, 'notice'>)[]
  readiness(): Readiness
  fills(): readonly FillProgress[]
  /** Blobs evicted since the data folder was made. */
  evictions(): number
  series(): TimeSeries
  /** `entrepot/probe:<nonce>`: a client that can pull it uses this mirror. */
  probe(): string
}
