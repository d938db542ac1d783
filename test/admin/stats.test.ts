import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { AdminSources } from '../../src/admin/sources.ts'
import { UpstreamError } from '../../src/oci/error.ts'
import { Counters } from '../../src/telemetry/counters.ts'
import { TelemetryObserver } from '../../src/telemetry/observer.ts'
import { memoryLog } from '../telemetry/support/memory-log.ts'
import { calmSources, startAdmin } from './support/admin.ts'

const none = { hit: 0, miss: 0, collapsed: 0, revalidated: 0, stale: 0 }

const hub = {
  name: 'docker.io',
  state: 'ok',
  requests: 12,
  errors: 1,
  rateLimit: { limit: 100, remaining: 42, window: 21600 },
} as const
const github = { name: 'ghcr.io', state: 'resting', requests: 3, errors: 3, rateLimit: null } as const

const busySources: AdminSources = {
  ...calmSources,
  upstreams: () => [
    Object.assign({ ...hub, notice: null }, { login: 'not for the world' }),
    { ...github, notice: 'it is not readable' },
  ],
  usage: async () => ({ bytes: 5_000, blobs: 7, maxBytes: 10_000 }),
  evictions: () => 4,
  fills: () => [
    {
      digest: 'sha256:00' as never,
      repository: 'docker.io/library/alpine',
      size: null,
      written: 5,
      followers: 2,
      seconds: 1.5,
    },
  ],
}

describe('/api/stats', () => {
  it('is all zeros at the start', async () => {
    await using admin = await startAdmin()
    assert.deepEqual((await admin.ask('/api/stats')).json, {
      requests: { manifest: none, blob: none },
      hitRatio: 0,
      bytes: { served: 0, fromUpstream: 0, saved: 0 },
      storage: { used: 0, max: 0, blobs: 0 },
      upstreams: [],
      fills: 0,
      evictions: 0,
      series: { hour: [], day: [] },
      probe: 'entrepot/probe:nonce',
      uptime: 0,
    })
  })

  it('sums up the counters, in exactly the documented shape', async () => {
    let now = 1_000
    const counters = new Counters(['docker.io', 'ghcr.io'])
    const observer = new TelemetryObserver({ counters, log: memoryLog().log, now: () => now })
    observer.answered('blob', 'docker.io', 'hit')
    observer.answered('blob', 'ghcr.io', 'hit')
    observer.answered('blob', 'ghcr.io', 'collapsed')
    observer.answered('manifest', 'docker.io', 'revalidated')
    observer.answered('manifest', 'docker.io', 'stale')
    observer.answered('manifest', 'docker.io', 'miss')
    observer.answered('blob', 'docker.io', 'miss')
    observer.answered('blob', 'docker.io', 'miss')
    observer.received('docker.io', 100)
    observer.received('ghcr.io', 50)
    observer.fillStarted('docker.io', 'sha256:0' as never)
    counters.servedBytes += 400
    await using admin = await startAdmin({ counters, sources: busySources, now: () => now })
    now += 90_500
    assert.deepEqual((await admin.ask('/api/stats')).json, {
      requests: {
        manifest: { ...none, miss: 1, revalidated: 1, stale: 1 },
        blob: { ...none, hit: 2, miss: 2, collapsed: 1 },
      },
      hitRatio: 5 / 8,
      bytes: { served: 400, fromUpstream: 150, saved: 250 },
      storage: { used: 5_000, max: 10_000, blobs: 7 },
      upstreams: [hub, github],
      fills: 1,
      evictions: 4,
      series: { hour: [], day: [] },
      probe: 'entrepot/probe:nonce',
      uptime: 90.5,
    })
  })

  it('never reports negative savings', async () => {
    const counters = new Counters(['docker.io'])
    counters.upstream('docker.io').receivedBytes = 10
    await using admin = await startAdmin({ counters })
    const { json } = await admin.ask('/api/stats')
    assert.deepEqual((json as { bytes: unknown }).bytes, { served: 0, fromUpstream: 10, saved: 0 })
  })
})

describe('the parts', () => {
  it('lists upstreams with the documented fields only', async () => {
    const counters = new Counters(['docker.io', 'ghcr.io'])
    const observer = new TelemetryObserver({ counters, log: memoryLog().log, now: () => 0 })
    for (let count = 0; count < 3; count += 1) {
      observer.upstreamFailed('ghcr.io', new UpstreamError('ghcr.io', 'protocol', 'JSON that is no manifest'))
    }
    await using admin = await startAdmin({ counters, sources: busySources })
    const kinds = ['unreachable', 'timeout', 'rate-limited', 'unavailable', 'denied', 'protocol', 'other']
    const failures = Object.fromEntries(kinds.map((kind) => [kind, 0]))
    const expected = [
      { ...hub, failures, notice: null },
      { ...github, failures: { ...failures, protocol: 3 }, notice: 'it is not readable' },
    ]
    assert.deepEqual((await admin.ask('/api/upstreams')).json, expected)
  })

  it('lists running fills', async () => {
    await using admin = await startAdmin({ sources: busySources })
    assert.deepEqual((await admin.ask('/api/fills')).json, busySources.fills())
  })

  it('serves metrics as Prometheus text', async () => {
    await using admin = await startAdmin({ sources: busySources })
    const { headers, text } = await admin.ask('/metrics')
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    assert.match(text, /^entrepot_storage_bytes 5000$/m)
  })
})
