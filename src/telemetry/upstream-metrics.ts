import type { Counters, UpstreamCounters } from './counters.ts'
import type { MetricFamilies, Sample } from './metric-family.ts'
import type { MetricSources, UpstreamReport } from './metric-sources.ts'

export function upstreamMetrics(families: MetricFamilies, counters: Counters, sources: MetricSources): void {
  const reported = (value: (report: UpstreamReport) => number | undefined) => () =>
    sources.upstreams().flatMap((report): Sample[] => {
      const read = value(report)
      return read === undefined ? [] : [{ labels: { upstream: report.name }, value: read }]
    })
  const counted = (samples: (upstream: string, counts: UpstreamCounters) => readonly Sample[]) => () =>
    [...counters.upstreams].flatMap(([upstream, counts]) => samples(upstream, counts))
  families.counters(['kind', 'outcome', 'upstream'], {
    entrepot_requests_total: [
      'Content requests by outcome.',
      counted((upstream, { answers }) =>
        Object.entries(answers).flatMap(([kind, outcomes]) =>
          Object.entries(outcomes).map(([outcome, value]) => ({ labels: { kind, outcome, upstream }, value })),
        ),
      ),
    ],
  })
  families.counters(['upstream', 'kind'], {
    entrepot_upstream_failures_total: [
      'Failures of an upstream that led to a stale answer or none.',
      counted((upstream, { failures }) =>
        Object.entries(failures).map(([kind, value]) => ({ labels: { upstream, kind }, value })),
      ),
    ],
  })
  families.counters(['upstream'], {
    entrepot_upstream_bytes_total: [
      'Body bytes of content from an upstream.',
      counted((upstream, { receivedBytes }) => [{ labels: { upstream }, value: receivedBytes }]),
    ],
    entrepot_upstream_requests_total: [
      'Requests sent to an upstream, its token service and the hosts it redirects to.',
      reported((report) => report.requests),
    ],
    entrepot_upstream_errors_total: ['Those of the requests that failed.', reported((report) => report.errors)],
  })
  families.gauges(['upstream'], {
    entrepot_upstream_up: [
      '0 while an upstream rests after a failure, else 1.',
      reported((report) => (report.state === 'ok' ? 1 : 0)),
    ],
    entrepot_upstream_ratelimit_limit: [
      'The rate limit that the upstream last sent, in pulls.',
      reported((report) => report.rateLimit?.limit),
    ],
    entrepot_upstream_ratelimit_remaining: [
      'The remaining pulls that the upstream last sent.',
      reported((report) => report.rateLimit?.remaining),
    ],
  })
}
