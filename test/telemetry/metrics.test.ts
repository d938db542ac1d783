import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { UpstreamError } from '../../src/oci/error.ts'
import { Counters } from '../../src/telemetry/counters.ts'
import type { MetricSources } from '../../src/telemetry/metric-sources.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { TelemetryObserver } from '../../src/telemetry/observer.ts'
import { RequestReport } from '../../src/telemetry/request-report.ts'
import { memoryLog } from './support/memory-log.ts'

/** Every metric of ours: its type and its labels. What is not in this table does not exist. */
const table: Record<string, [type: string, ...labels: string[]]> = {
  entrepot_build_info: ['gauge', 'version'],
  entrepot_requests_total: ['counter', 'kind', 'outcome', 'upstream'],
  entrepot_http_responses_total: ['counter', 'code'],
  entrepot_served_bytes_total: ['counter'],
  entrepot_request_seconds: ['histogram', 'kind', 'le'],
  entrepot_upstream_requests_total: ['counter', 'upstream'],
  entrepot_upstream_errors_total: ['counter', 'upstream'],
  entrepot_upstream_failures_total: ['counter', 'kind', 'upstream'],
  entrepot_upstream_bytes_total: ['counter', 'upstream'],
  entrepot_upstream_up: ['gauge', 'upstream'],
  entrepot_upstream_ratelimit_limit: ['gauge', 'upstream'],
  entrepot_upstream_ratelimit_remaining: ['gauge', 'upstream'],
  entrepot_fills_running: ['gauge'],
  entrepot_fills_total: ['counter', 'end'],
  entrepot_fill_seconds: ['histogram', 'le'],
  entrepot_storage_bytes: ['gauge'],
  entrepot_storage_blobs: ['gauge'],
  entrepot_storage_max_bytes: ['gauge'],
  entrepot_disk_total_bytes: ['gauge'],
  entrepot_disk_free_bytes: ['gauge'],
  entrepot_store_failures_total: ['counter', 'store'],
  entrepot_failing: ['gauge', 'part'],
  entrepot_evicted_blobs_total: ['counter'],
  entrepot_evicted_bytes_total: ['counter'],
  entrepot_damaged_blobs_total: ['counter'],
  entrepot_scrub_running: ['gauge'],
  entrepot_scrub_checked_blobs: ['gauge'],
  entrepot_scrub_damaged_blobs: ['gauge'],
  entrepot_scrub_repaired_blobs: ['gauge'],
  entrepot_scrub_finished_timestamp_seconds: ['gauge'],
  entrepot_probe_pulls_total: ['counter'],
  entrepot_degraded: ['gauge'],
  entrepot_log_lines_dropped_total: ['counter'],
}

const sources: MetricSources = {
  upstreams: () => [
    { name: 'docker.io', state: 'ok', requests: 9, errors: 1, rateLimit: { limit: 100, remaining: 42, window: 21600 } },
    { name: 'ghcr.io', state: 'resting', requests: 3, errors: 3, rateLimit: null },
  ],
  usage: async () => ({ bytes: 1234, blobs: 5, maxBytes: 5000 }),
  disk: async () => ({ total: 9000, free: 4000 }),
  scrub: () => ({ state: 'running', checked: 7, damaged: 2, repaired: 1, finishedAt: 1500 }),
  degraded: () => ['upstream:ghcr.io'],
}

function setUp() {
  const { log } = memoryLog('silent')
  const counters = new Counters(['docker.io', 'ghcr.io'])
  const observer = new TelemetryObserver({ counters, log, now: () => 0 })
  const report = new RequestReport({ counters, log })
  return { observer, report, metrics: createMetrics({ counters, sources, log, version: '1.2.3' }) }
}

/** Sample lines by series (`name{labels}`). */
function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

describe('metrics', () => {
  it('has the names, types and labels of the table, and no others of ours', async () => {
    const text = await setUp().metrics.text()
    const found: typeof table = {}
    for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (entrepot_\S+) (\S+)$/gm)) {
      const labels = [...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{(.*)\\} `, 'gm'))].flatMap(
        ([, list = '']) => [...list.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
      )
      found[name] = [type, ...[...new Set(labels)].toSorted()]
    }
    assert.deepEqual(found, table)
    assert.match(text, /^process_cpu_seconds_total /m)
    assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m)
  })

  it('starts every series of a closed vocabulary at zero', async () => {
    const found = samples(await setUp().metrics.text())
    const ours = [...found.keys()].filter((series) => series.startsWith('entrepot_requests_total'))
    assert.equal(ours.length, 2 * 5 * 2)
    assert.equal(found.get('entrepot_requests_total{kind="blob",outcome="hit",upstream="ghcr.io"}'), 0)
    assert.equal(found.get('entrepot_http_responses_total{code="5xx"}'), 0)
  })

  it('shows the current counts at each scrape', async () => {
    const { observer, report, metrics } = setUp()
    observer.answered('blob', 'docker.io', 'collapsed')
    observer.received('docker.io', 700)
    observer.fillStarted('docker.io', 'sha256:0' as never)
    observer.storeFailed('content', new Error('full'))
    observer.evicted({ blobs: 3, bytes: 333 })
    observer.damaged('sha256:0' as never)
    observer.probed('docker.io', { address: '::1', userAgent: undefined })
    observer.upstreamFailed('ghcr.io', new UpstreamError('ghcr.io', 'rate-limited', '429'))
    report.record({
      requestId: 'r',
      method: 'GET',
      kind: 'blob',
      status: 206,
      bytes: 300,
      ms: 9000,
      headersMs: 30,
      client: '::1',
    })
    await metrics.text()
    observer.answered('blob', 'docker.io', 'collapsed')
    const found = samples(await metrics.text())
    for (const [series, value] of [
      ['entrepot_build_info{version="1.2.3"}', 1],
      ['entrepot_requests_total{kind="blob",outcome="collapsed",upstream="docker.io"}', 2],
      ['entrepot_http_responses_total{code="2xx"}', 1],
      ['entrepot_served_bytes_total', 300],
      ['entrepot_request_seconds_bucket{kind="blob",le="0.025"}', 0],
      ['entrepot_request_seconds_bucket{kind="blob",le="0.05"}', 1],
      ['entrepot_request_seconds_bucket{kind="blob",le="+Inf"}', 1],
      ['entrepot_request_seconds_sum{kind="blob"}', 0.03],
      ['entrepot_request_seconds_count{kind="blob"}', 1],
      ['entrepot_upstream_requests_total{upstream="docker.io"}', 9],
      ['entrepot_upstream_errors_total{upstream="ghcr.io"}', 3],
      ['entrepot_upstream_failures_total{upstream="ghcr.io",kind="rate-limited"}', 1],
      ['entrepot_upstream_bytes_total{upstream="docker.io"}', 700],
      ['entrepot_upstream_up{upstream="docker.io"}', 1],
      ['entrepot_upstream_up{upstream="ghcr.io"}', 0],
      ['entrepot_upstream_ratelimit_limit{upstream="docker.io"}', 100],
      ['entrepot_upstream_ratelimit_remaining{upstream="docker.io"}', 42],
      ['entrepot_upstream_ratelimit_remaining{upstream="ghcr.io"}', undefined],
      ['entrepot_fills_running', 1],
      ['entrepot_storage_bytes', 1234],
      ['entrepot_storage_blobs', 5],
      ['entrepot_storage_max_bytes', 5000],
      ['entrepot_disk_total_bytes', 9000],
      ['entrepot_disk_free_bytes', 4000],
      ['entrepot_store_failures_total{store="content"}', 1],
      ['entrepot_failing{part="storage"}', 1],
      ['entrepot_failing{part="redis"}', 0],
      ['entrepot_evicted_blobs_total', 3],
      ['entrepot_evicted_bytes_total', 333],
      ['entrepot_damaged_blobs_total', 1],
      ['entrepot_scrub_running', 1],
      ['entrepot_scrub_checked_blobs', 7],
      ['entrepot_scrub_damaged_blobs', 2],
      ['entrepot_scrub_repaired_blobs', 1],
      ['entrepot_scrub_finished_timestamp_seconds', 1.5],
      ['entrepot_probe_pulls_total', 1],
      ['entrepot_degraded', 1],
      ['entrepot_log_lines_dropped_total', 0],
    ] as const) {
      assert.equal(found.get(series), value, series)
    }
  })

  it('shows a store that works again', async () => {
    const { observer, metrics } = setUp()
    observer.storeFailed('content', new Error('full'))
    observer.storeWorks()
    assert.equal(samples(await metrics.text()).get('entrepot_failing{part="storage"}'), 0)
  })

  it('shows fills in the histogram, cumulated', async () => {
    const { observer, metrics } = setUp()
    for (const seconds of [0.05, 0.3, 5000]) {
      observer.fillStarted('docker.io', 'sha256:0' as never)
      observer.fillEnded({
        upstream: 'docker.io',
        repository: 'r',
        digest: 'sha256:0' as never,
        end: 'stored',
        bytes: 1,
        seconds,
      })
    }
    const found = samples(await metrics.text())
    assert.equal(found.get('entrepot_fill_seconds_bucket{le="0.1"}'), 1)
    assert.equal(found.get('entrepot_fill_seconds_bucket{le="0.5"}'), 2)
    assert.equal(found.get('entrepot_fill_seconds_bucket{le="900"}'), 2)
    assert.equal(found.get('entrepot_fill_seconds_bucket{le="+Inf"}'), 3)
    assert.equal(found.get('entrepot_fills_total{end="stored"}'), 3)
  })

  it('keeps to its own registry', async () => {
    const [one, other] = [setUp(), setUp()]
    one.observer.fillStarted('docker.io', 'sha256:0' as never)
    assert.equal(samples(await other.metrics.text()).get('entrepot_fills_running'), 0)
  })
})
