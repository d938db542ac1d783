import { collectDefaultMetrics } from 'prom-client'
import type { Counters } from './counters.ts'
import type { Log } from './log.ts'
import { MetricFamilies } from './metric-family.ts'
import type { MetricSources } from './metric-sources.ts'
import { storeMetrics } from './store-metrics.ts'
import { upstreamMetrics } from './upstream-metrics.ts'

export interface Metrics {
  readonly contentType: string
  /** The current values in the Prometheus text format. */
  text(): Promise<string>
}

export interface MetricsOptions {
  readonly counters: Counters
  readonly sources: MetricSources
  readonly log: Log
  readonly version: string
}

/**
 * Every metric, with its help. Labels are names of upstreams and closed vocabularies, never a repository, tag or digest:
 * their number has no bound.
 */
export function createMetrics({ counters, sources, log, version }: MetricsOptions): Metrics {
  const families = new MetricFamilies()
  const { registry } = families
  // Milliseconds between two samples of the event loop's lag. With 10, sampling takes half a per cent of a processor.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 })
  families.gauges(['version'], {
    entrepot_build_info: ['1, labelled with the running version.', () => [{ labels: { version }, value: 1 }]],
  })
  families.gauges([], {
    entrepot_degraded: ['Number of parts that fail now.', () => sources.degraded().length],
    entrepot_fills_running: ['Blobs being downloaded.', () => counters.fillsRunning],
  })
  families.counters([], {
    entrepot_served_bytes_total: ['Body bytes sent to clients.', () => counters.servedBytes],
    entrepot_log_lines_dropped_total: ['Log lines lost to a slow or broken output.', () => log.dropped],
  })
  families.counters(['code'], {
    entrepot_http_responses_total: [
      'Responses of the registry API by class of status.',
      () => Object.entries(counters.responses).map(([code, value]) => ({ labels: { code }, value })),
    ],
  })
  families.counters(['end'], {
    entrepot_fills_total: [
      'Ended downloads of blobs.',
      () => Object.entries(counters.fills).map(([end, value]) => ({ labels: { end }, value })),
    ],
  })
  families.histograms(['kind'], {
    entrepot_request_seconds: [
      "Time from a request's arrival until its answer's headers left.",
      () => Object.entries(counters.requestSeconds).map(([kind, value]) => ({ labels: { kind }, value })),
    ],
  })
  families.histograms([], {
    entrepot_fill_seconds: ["Time of a blob's download, however it ended.", () => counters.fillSeconds],
  })
  upstreamMetrics(families, counters, sources)
  const refresh = storeMetrics(families, counters, sources)
  return {
    contentType: registry.contentType,
    text: async () => {
      await refresh()
      return registry.metrics()
    },
  }
}
