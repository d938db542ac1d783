import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import { Counters } from '../../src/telemetry/counters.ts'
import { History } from '../../src/telemetry/history.ts'
import { get } from '../support/client.ts'
import { image, randomBlob } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'

const minute = 60_000
const hour = 60 * minute
const noon = Date.UTC(2026, 0, 1, 12)

function openSqlite() {
  return SqliteStore.open(':memory:')
}

function countersWith(hits = 0): Counters {
  const counters = new Counters(['docker.io', 'localhost:5000'])
  counters.upstream('docker.io').answers.blob.hit += hits
  return counters
}

function never(error: unknown): void {
  assert.fail(String(error))
}

describe('statistics', () => {
  it('continue after a restart', async () => {
    await using stage = await Stage.start({ config: { storage: { maxSize: '250KiB' } } })
    for (const seed of [1, 2, 3]) {
      stage.clock.now += 1000
      const added = image({ layers: [randomBlob(100 * 1024, seed)], config: { seed } })
      stage.upstream.addImage('library/app', `v${seed}`, added)
      await stage.get(`/v2/library/app/manifests/v${seed}`)
      for (const { digest } of [added.config, ...added.layers]) await stage.get(`/v2/library/app/blobs/${digest}`)
      await stage.get(`/v2/library/app/manifests/v${seed}`)
    }
    await until(async () => (await stage.mirror.stats()).evictions >= 3, 'the eviction')
    const before = await stage.mirror.stats()
    assert.deepEqual(before.requests.manifest, { hit: 3, miss: 3, collapsed: 0, revalidated: 0, stale: 0 })
    await stage.restart()
    const after = await stage.mirror.stats()
    assert.deepEqual(after.requests, before.requests)
    assert.deepEqual(after.bytes, before.bytes)
    assert.equal(after.evictions, before.evictions)
    assert.deepEqual(after.series, before.series)
    await stage.get('/v2/library/app/manifests/v3')
    assert.equal((await stage.mirror.stats()).requests.manifest.hit, 4)
    const metrics = (await get(`${stage.mirror.adminUrl}/metrics`)).text()
    assert.match(metrics, /^entrepot_requests_total\{kind="manifest",outcome="hit",upstream="docker.io"\} 4$/m)
  })

  it('lose only what was not written yet when the process is killed', async () => {
    const store = openSqlite()
    const now = () => noon
    const first = countersWith(5)
    const history = await History.open({ counters: first, store: store.index, now, onFailure: never })
    await history.flush()
    first.upstream('docker.io').answers.blob.hit += 2
    // Killed: nothing is written.
    const second = countersWith()
    await using later = await History.open({ counters: second, store: store.index, now, onFailure: never })
    assert.equal(second.upstream('docker.io').answers.blob.hit, 5)
    assert.equal(later.series().hour.at(-1)?.requests.hit, 5)
  })

  it('are written exactly once, whatever fails', async () => {
    await using store = openSqlite()
    let broken = true
    const failures: unknown[] = []
    const flaky = {
      totals: () => store.index.totals(),
      buckets: (from: number) => store.index.buckets(from),
      deleteBuckets: (before: number) => store.index.deleteBuckets(before),
      addCounts: async (bucket: number, deltas: Record<string, number>) => {
        if (broken) throw new Error('disk full')
        await store.index.addCounts(bucket, deltas)
      },
    }
    const counters = countersWith()
    const onFailure = (error: unknown) => failures.push(error)
    await using history = await History.open({ counters, store: flaky, now: () => noon, onFailure })
    counters.upstream('localhost:5000').receivedBytes += 10
    await history.flush()
    counters.upstream('localhost:5000').receivedBytes += 10
    assert.equal(history.series().hour.at(-1)?.fromUpstream, 20)
    broken = false
    await Promise.all([history.flush(), history.flush()])
    assert.deepEqual(await store.index.totals(), { 'receivedBytes localhost:5000': 20 })
    assert.equal(failures.length, 1)
  })

  it('begin at zero where the old sums cannot be read, and are still added to them', async () => {
    await using store = openSqlite()
    await store.index.addCounts(noon, { servedBytes: 100 })
    const index = store.index
    const blind = {
      totals: () => Promise.reject(new Error('locked')),
      buckets: (from: number) => index.buckets(from),
      deleteBuckets: (before: number) => index.deleteBuckets(before),
      addCounts: (bucket: number, deltas: Record<string, number>) => index.addCounts(bucket, deltas),
    }
    const counters = countersWith()
    const history = await History.open({ counters, store: blind, now: () => noon, onFailure: () => undefined })
    counters.servedBytes += 7
    await history[Symbol.asyncDispose]()
    assert.deepEqual(await index.totals(), { servedBytes: 107 })
  })

  it('keep the sums of an upstream that is no longer configured', async () => {
    await using store = openSqlite()
    await store.index.addCounts(noon, { 'answers gone.test blob hit': 3, 'later things': 1 })
    for (let start = 0; start < 2; start += 1) {
      const counters = countersWith()
      const history = await History.open({ counters, store: store.index, now: () => noon, onFailure: never })
      const hits = [...counters.upstreams.values()].reduce((sum, { answers }) => sum + answers.blob.hit, 0)
      assert.equal(hits, 3)
      await history[Symbol.asyncDispose]()
    }
    assert.deepEqual(await store.index.totals(), { 'answers gone.test blob hit': 3, 'later things': 1 })
  })
})

describe('the last hour and the last day', () => {
  it('have no gaps, end with the current bucket, and lose older buckets', async () => {
    await using store = openSqlite()
    const clock = { now: noon }
    const counters = countersWith()
    const options = { store: store.index, now: () => clock.now, onFailure: never }
    await using history = await History.open({ ...options, counters })
    const count = async (hits: number): Promise<void> => {
      counters.upstream('docker.io').answers.blob.hit += hits
      await history.flush()
    }
    await count(1)
    clock.now = noon + 7 * minute
    await count(2)
    clock.now = noon + 2 * hour + 12 * minute
    counters.upstream('localhost:5000').answers.manifest.stale += 4
    counters.servedBytes += 50
    counters.evictedBlobs += 6
    const { hour: last, day } = history.series()
    assert.deepEqual(
      last.map(({ at }) => (at - noon) / minute),
      Array.from({ length: 12 }, (_, place) => 75 + 5 * place),
    )
    assert.deepEqual(last.at(-1), {
      at: noon + 2 * hour + 10 * minute,
      requests: { hit: 0, miss: 0, collapsed: 0, revalidated: 0, stale: 4 },
      served: 50,
      fromUpstream: 0,
      evictions: 6,
    })
    assert.equal(day.length, 24)
    assert.deepEqual(
      day.slice(-3).map(({ requests: { hit, stale } }) => [hit, stale]),
      [
        [3, 0],
        [0, 0],
        [0, 4],
      ],
    )
    // As a new process finds them.
    await history.flush()
    await using again = await History.open({ ...options, counters: countersWith() })
    assert.deepEqual(again.series(), history.series())

    clock.now = noon + 26 * hour
    await count(1)
    const kept = (await store.index.buckets(0)).map(({ at }) => (at - noon) / minute)
    assert.deepEqual(kept, [130, 26 * 60])
    assert.equal((await store.index.totals())['answers docker.io blob hit'], 4)
  })
})
