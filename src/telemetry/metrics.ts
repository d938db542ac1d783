import { collectDefaultMetrics, Registry as PrometheusRegistry, type Registry } from 'prom-client'
import type { Counters } from './counters.ts'
import type { Log } from './log.ts'
import { counter, gauge, histogram, type Sample } from './metric-family.ts'
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
  const registry = new PrometheusRegistry()
  // Milliseconds between two samples of the event loop's lag. With 10, sampling takes half a per cent of a processor.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 })
  gauge(
    { registry, name: 'entrepot_build_info', help: '1, labelled with the running version.', labels: ['version'] },
    () => [{ labels: { version }, value: 1 }],
  )
  requestMetrics(registry, counters)
  upstreamMetrics(registry, counters, sources)
  fillMetrics(registry, counters)
  const refresh = storeMetrics(registry, counters, sources)
  gauge({ registry, name: 'entrepot_degraded', help: 'Number of parts that fail now.' }, () => [
    { value: sources.degraded().length },
  ])
  counter(
    { registry, name: 'entrepot_log_lines_dropped_total', help: 'Log lines lost to a slow or broken output.' },
    () => [{ value: log.dropped }],
  )
  return {
    contentType: registry.contentType,
    text: async () => {
      await refresh()
      return registry.metrics()
    },
  }
}

function requestMetrics(registry: Registry, counters: Counters): void {
  counter(
    {
      registry,
      name: 'entrepot_requests_total',
      help: 'Content requests by outcome.',
      labels: ['kind', 'outcome', 'upstream'],
    },
    () =>
      [...counters.upstreams].flatMap(([upstream, { answers }]) =>
        Object.entries(answers).flatMap(([kind, outcomes]) =>
          labelled(outcomes, (outcome) => ({ kind, outcome, upstream })),
        ),
      ),
  )
  counter(
    {
      registry,
      name: 'entrepot_http_responses_total',
      help: 'Responses of the registry API by class of status.',
      labels: ['code'],
    },
    () => labelled(counters.responses, (code) => ({ code })),
  )
  counter({ registry, name: 'entrepot_served_bytes_total', help: 'Body bytes sent to clients.' }, () => [
    { value: counters.servedBytes },
  ])
  histogram(
    {
      registry,
      name: 'entrepot_request_seconds',
      help: "Time from a request's arrival until its answer's headers left.",
      labels: ['kind'],
    },
    () => Object.entries(counters.requestSeconds).map(([kind, distribution]) => ({ labels: { kind }, distribution })),
  )
}

function fillMetrics(registry: Registry, counters: Counters): void {
  gauge({ registry, name: 'entrepot_fills_running', help: 'Blobs being downloaded.' }, () => [
    { value: counters.fillsRunning },
  ])
  counter({ registry, name: 'entrepot_fills_total', help: 'Ended downloads of blobs.', labels: ['end'] }, () =>
    labelled(counters.fills, (end) => ({ end })),
  )
  histogram({ registry, name: 'entrepot_fill_seconds', help: "Time of a blob's download, however it ended." }, () => [
    { distribution: counters.fillSeconds },
  ])
}

function labelled(counts: Readonly<Record<string, number>>, labels: (key: string) => Record<string, string>): Sample[] {
  return Object.entries(counts).map(([key, value]) => ({ labels: labels(key), value }))
}
