import { type Counters, type OutcomeCounts, sumOutcomes } from '../telemetry/counters.ts'
import type { UpstreamReport } from '../telemetry/metric-sources.ts'
import type { StatsAnswer, UpstreamAnswer } from './answers.ts'
import type { AdminSources } from './sources.ts'

/** `uptime` in seconds. */
export async function statsOf(
  counters: Counters,
  sources: Pick<AdminSources, 'upstreams' | 'usage' | 'evictions' | 'series' | 'probe'>,
  uptime: number,
): Promise<StatsAnswer> {
  const upstreams = [...counters.upstreams.values()]
  const requests = {
    manifest: sumOutcomes(upstreams.map(({ answers }) => answers.manifest)),
    blob: sumOutcomes(upstreams.map(({ answers }) => answers.blob)),
  }
  const served = counters.servedBytes
  const fromUpstream = upstreams.reduce((total, { receivedBytes }) => total + receivedBytes, 0)
  const { bytes: used, maxBytes: max, blobs } = await sources.usage()
  return {
    requests,
    hitRatio: hitRatio(sumOutcomes(Object.values(requests))),
    bytes: { served, fromUpstream, saved: Math.max(0, served - fromUpstream) },
    storage: { used, max, blobs },
    upstreams: sources.upstreams().map(reportOf),
    fills: counters.fillsRunning,
    evictions: sources.evictions(),
    series: sources.series(),
    probe: sources.probe(),
    uptime,
  }
}

/** Upstreams with what is counted of them. */
export function upstreamsOf(counters: Counters, sources: Pick<AdminSources, 'upstreams'>): UpstreamAnswer[] {
  return sources.upstreams().map((report) => ({
    ...reportOf(report),
    failures: { ...counters.upstream(report.name).failures },
    notice: report.notice,
  }))
}

/** Field by field, so that no other field of an upstream gets into answers. */
function reportOf({ name, state, requests, errors, rateLimit }: UpstreamReport): UpstreamReport {
  return {
    name,
    state,
    requests,
    errors,
    rateLimit: rateLimit && { limit: rateLimit.limit, remaining: rateLimit.remaining, window: rateLimit.window },
  }
}

function hitRatio({ hit, miss, collapsed, revalidated, stale }: OutcomeCounts): number {
  const good = hit + revalidated + stale + collapsed
  return good + miss === 0 ? 0 : good / (good + miss)
}
