import assert from 'node:assert/strict'
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { first, Larder } from '../cache/support/larder.ts'
import { image, randomBlob } from '../support/image.ts'
import { until } from '../support/wait.ts'
import { emptyActions, startAdmin } from './support/admin.ts'

const write = { method: 'POST', headers: { 'content-type': 'application/json' } }
const app = `${first}/team/app`

function errorsOf(answer: { readonly json: unknown }): unknown {
  return (answer.json as { errors: unknown }).errors
}

describe('/api/evict', () => {
  it('evicts nothing while there is room', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', image())
    assert.deepEqual(await larder.call('/evict', 'POST'), { status: 200, json: { blobs: 0, bytes: 0 } })
    assert.equal((await larder.images()).length, 1)
  })

  it('evicts what has been idle for too long, except what is pinned', async () => {
    const clock = { now: 1_700_000_000_000 }
    await using larder = await Larder.open({ storage: { maxIdle: '1d' } }, clock)
    const old = image({ layers: [randomBlob(10_000, 5)] })
    await larder.stock(app, 'old', old)
    await larder.stock(app, 'kept', image({ layers: [randomBlob(10_000, 6)] }))
    await larder.call('/pins', 'POST', { pattern: `${app}:kept` })
    clock.now += 2 * 86_400_000
    const { json } = await larder.call('/evict', 'POST')
    const bytes = [old.manifest, old.config, ...old.layers].reduce((sum, { size }) => sum + size, 0)
    assert.deepEqual(json, { blobs: 3, bytes })
    assert.deepEqual(
      (await larder.images()).map(({ tag }) => tag),
      ['kept'],
    )
    assert.equal((await larder.mirror.stats())['evictions'], 3)
  })

  it('runs one at a time: a second request is refused', async () => {
    const gate = Promise.withResolvers<void>()
    const eviction = {
      isRunning: false,
      run: async () => {
        await gate.promise
        return { blobs: 1, bytes: 2 }
      },
    }
    await using admin = await startAdmin({ actions: { ...emptyActions, eviction } })
    const one = admin.ask('/api/evict', write)
    const two = admin.ask('/api/evict', write)
    const refused = await Promise.race([one, two])
    assert.equal(refused.status, 409)
    assert.deepEqual(errorsOf(refused), [{ code: 'CONFLICT', message: 'an eviction is already running' }])
    gate.resolve()
    assert.deepEqual([(await one).status, (await two).status].sort(), [200, 409])
    assert.equal((await admin.ask('/api/evict', write)).status, 200)
  })

  it('waits for a running check that ends soon, but not longer', async () => {
    const eviction = { isRunning: true, run: async () => ({ blobs: 0, bytes: 0 }) }
    await using admin = await startAdmin({ actions: { ...emptyActions, eviction } })
    assert.equal((await admin.ask('/api/evict', write)).status, 409)
    const waiting = admin.ask('/api/evict', write)
    setTimeout(() => {
      eviction.isRunning = false
    }, 50)
    assert.equal((await waiting).status, 200)
  })

  it('needs an empty body, and its content type', async () => {
    await using admin = await startAdmin()
    for (const path of ['/api/evict', '/api/scrub']) {
      const answer = await admin.ask(path, { ...write, body: '{"now":true}' })
      assert.equal(answer.status, 400)
      assert.deepEqual(errorsOf(answer), [{ code: 'INVALID', message: 'unknown key "now" in the body' }])
      assert.equal((await admin.ask(path, { method: 'POST' })).status, 415)
      assert.ok([200, 202].includes((await admin.ask(path, { ...write, body: '{}' })).status))
    }
  })
})

describe('/api/scrub', () => {
  it('finds damaged blobs and replaces them', async () => {
    await using larder = await Larder.open()
    assert.deepEqual((await larder.call('/scrub')).json, {
      state: 'idle',
      checked: 0,
      damaged: 0,
      repaired: 0,
      finishedAt: null,
    })
    const own = image({ layers: [randomBlob(30_000, 8)] })
    await larder.stock(app, '1', own)
    const digest = own.layers[0]?.digest ?? own.config.digest
    await truncate(join(larder.mirror.path, 'blobs', ...digest.split(':')), 100)
    const started = await larder.call('/scrub', 'POST')
    assert.equal(started.status, 202)
    assert.equal(started.json['state'], 'running')
    await until(async () => (await larder.call('/scrub')).json['state'] === 'idle', 'the scrub to end')
    const { finishedAt, ...status } = (await larder.call('/scrub')).json
    assert.deepEqual(status, { state: 'idle', checked: 3, damaged: 1, repaired: 1 })
    assert.equal(typeof finishedAt, 'number')
    assert.equal(await larder.holds(digest), true)
  })

  it('runs one at a time: a second request is refused', async () => {
    const gate = Promise.withResolvers<boolean>()
    const rates: number[] = []
    let state: 'idle' | 'running' = 'idle'
    const scrub = {
      get status() {
        return { state, checked: 0, damaged: 0, repaired: 0, finishedAt: null }
      },
      run: (rate: number) => {
        rates.push(rate)
        state = 'running'
        return gate.promise
      },
    }
    await using admin = await startAdmin({ actions: { ...emptyActions, scrub } })
    assert.equal((await admin.ask('/api/scrub', write)).status, 202)
    const refused = await admin.ask('/api/scrub', write)
    assert.equal(refused.status, 409)
    assert.deepEqual(errorsOf(refused), [{ code: 'CONFLICT', message: 'a scrub is already running' }])
    assert.deepEqual(rates, [Number.POSITIVE_INFINITY])
    gate.resolve(true)
  })
})
