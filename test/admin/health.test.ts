import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { AdminSources } from '../../src/admin/sources.ts'
import { calmSources, startAdmin } from './support/admin.ts'

describe('/livez', () => {
  it('uses no dependency', async () => {
    const touched = (): never => {
      throw new Error('touched')
    }
    const sources: AdminSources = {
      readiness: touched,
      degraded: touched,
      upstreams: touched,
      usage: touched,
      fills: touched,
      evictions: touched,
      disk: touched,
      scrub: touched,
      series: touched,
      probe: touched,
    }
    await using admin = await startAdmin({ sources })
    assert.equal((await admin.ask('/livez')).status, 200)
  })
})

describe('/readyz', () => {
  for (const [readiness, expected] of [
    ['starting', 503],
    ['ready', 200],
    ['stopping', 503],
  ] as const) {
    it(`is ${expected} while ${readiness}`, async () => {
      await using admin = await startAdmin({ sources: { ...calmSources, readiness: () => readiness } })
      const { status, json } = await admin.ask('/readyz')
      assert.equal(status, expected)
      assert.deepEqual(json, { status: readiness, degraded: [] })
    })
  }

  it('is ready while an upstream and a store fail, and lists them', async () => {
    const sources: AdminSources = { ...calmSources, degraded: () => ['storage', 'upstream:ghcr.io'] }
    await using admin = await startAdmin({ sources })
    const { status, json } = await admin.ask('/readyz')
    assert.equal(status, 200)
    assert.deepEqual(json, { status: 'ready', degraded: ['storage', 'upstream:ghcr.io'] })
  })
})
