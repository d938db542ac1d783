import type { Registry } from 'prom-client'
import type { Counters } from './counters.ts'
import { counter, gauge, type Sample } from './metric-family.ts'
import type { MetricSources, UpstreamReport } from './metric-sources.ts'

const labels = ['upstream']

export function upstreamMetrics(registry: Registry, counters: Counters, sources: MetricSources): void {
  const reports = (value: (report: UpstreamReport) => number | undefined) => () =>
    sources.upstreams().flatMap((report): Sample[] => {
      const read = value(report)
      return read === undefined ? [] : [{ labels: { upstream: report.name }, value: read }]
    })
  counter(
    {
      registry,
      name: 'entrepot_upstream_requests_total',
      help: 'Requests sent to an upstream, its token service and the hosts it redirects to.',
      labels,
    },
    reports((report) => report.requests),
  )
  counter(
    { registry, name: 'entrepot_upstream_errors_total', help: 'Those of the requests that failed.', labels },
    reports((report) => report.errors),
  )
  counter(
    {
      registry,
      name: 'entrepot_upstream_failures_total',
      help: 'Failures of an upstream that led to a stale answer or none.',
      labels: [...labels, 'kind'],
    },
    () =>
      [...counters.upstreams].flatMap(([upstream, { failures }]) =>
        Object.entries(failures).map(([kind, value]) => ({ labels: { upstream, kind }, value })),
      ),
  )
  counter(
    { registry, name: 'entrepot_upstream_bytes_total', help: 'Body bytes of content from an upstream.', labels },
    () =>
      [...counters.upstreams].map(([upstream, { receivedBytes }]) => ({ labels: { upstream }, value: receivedBytes })),
  )
  gauge(
    { registry, name: 'entrepot_upstream_up', help: '0 while an upstream rests after a failure, else 1.', labels },
    reports((report) => (report.state === 'ok' ? 1 : 0)),
  )
  gauge(
    {
      registry,
      name: 'entrepot_upstream_ratelimit_limit',
      help: 'The rate limit that the upstream last sent, in pulls.',
      labels,
    },
    reports((report) => report.rateLimit?.limit),
  )
  gauge(
    {
      registry,
      name: 'entrepot_upstream_ratelimit_remaining',
      help: 'The remaining pulls that the upstream last sent.',
      labels,
    },
    reports((report) => report.rateLimit?.remaining),
  )
}
