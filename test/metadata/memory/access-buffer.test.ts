import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Access } from '../../../src/metadata/access-log.ts'
import { AccessBuffer, type AccessBufferOptions } from '../../../src/metadata/memory/access-buffer.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { accessLogConformance } from '../../conformance/access-log.ts'
import { Gate } from '../../support/gate.ts'
import { until } from '../../support/wait.ts'
import { TroubledStore } from '../troubled-store.ts'

const hour = 3_600_000
const one = digestOf(Buffer.from('one'))
const two = digestOf(Buffer.from('two'))

accessLogConformance('A buffer in front of SQLite', async () => {
  const store = SqliteStore.open(':memory:')
  const log = new AccessBuffer(store.index, { onFailure: (error) => assert.fail(`failed: ${error}`) })
  const close = async () => {
    await log.close()
    await store[Symbol.asyncDispose]()
  }
  return { log, index: store.index, [Symbol.asyncDispose]: close }
})

/** Writes nothing by its own clock, unless the options say so. */
function before(store: TroubledStore, options: Partial<AccessBufferOptions> = {}) {
  const failures: unknown[] = []
  const onFailure = (error: unknown) => failures.push(error)
  const buffer = new AccessBuffer(store, { onFailure, batch: { delay: hour }, repeatDelay: hour, ...options })
  const stored = () => store.inner.index.leastRecentlyUsed(undefined, 5)
  const close = async () => {
    store.gate?.open()
    await buffer.close()
    await store[Symbol.asyncDispose]()
  }
  return { buffer, failures, stored, [Symbol.asyncDispose]: close }
}

suite('Touched blobs', () => {
  test('wait in memory, the latest access of each, until something is read', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    for (let at = 0; at < 500; at += 1) memory.buffer.touch(one, 10, at)
    memory.buffer.touch(one, 10, 3)
    assert.deepEqual(store.calls, [])
    assert.deepEqual(await memory.buffer.usage(), { blobs: 1, bytes: 10 })
    assert.deepEqual(await memory.stored(), [{ digest: one, size: 10, at: 499 }])
    assert.deepEqual(store.calls, ['recordAccesses', 'usage'])
  })

  test('are not forgotten by an older access, even if the newer one could not be written', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.buffer.recordAccesses([
      { digest: one, size: 10, at: 1 },
      { digest: two, size: 10, at: 2 },
    ])
    store.failure = new Error('no disk')
    store.failing = 'recordAccesses'
    memory.buffer.touch(one, 10, 3)
    assert.equal(await memory.buffer.forgetAccess(one, 1), false)
    assert.deepEqual(await memory.buffer.usage(), { blobs: 2, bytes: 20 })
    store.failing = undefined
    await assert.rejects(memory.buffer.usage(), store.failure)
    store.failure = undefined
    assert.equal(await memory.buffer.forgetAccess(one, 1), false)
    assert.deepEqual((await memory.stored())[1], { digest: one, size: 10, at: 3 })
  })

  test('are recorded again if the access comes while they are being forgotten', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.buffer.recordAccesses([{ digest: one, size: 10, at: 1 }])
    const gate = new Gate()
    store.gate = gate
    const forgetting = memory.buffer.forgetAccess(one, 1)
    await gate.arrived()
    memory.buffer.touch(one, 10, 2)
    gate.open()
    assert.equal(await forgetting, false)
    assert.deepEqual(await memory.buffer.usage(), { blobs: 1, bytes: 10 })
    assert.equal(await memory.buffer.forgetAccess(one, 2), true)
    assert.deepEqual(await memory.buffer.usage(), { blobs: 0, bytes: 0 })
  })

  test('are written when the buffer closes', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    memory.buffer.touch(one, 10, 1)
    await memory.buffer.close()
    assert.deepEqual(store.calls, ['recordAccesses'])
  })
})

suite('A repeated access', () => {
  const access = (at: number, size = 10): Access => ({ digest: one, size, at })

  /** An access to `one` is recorded. */
  async function recorded(repeatDelay: number) {
    const store = new TroubledStore()
    const memory = before(store, { batch: { delay: 5 }, repeatDelay })
    memory.buffer.touch(one, 10, 1)
    await until(async () => (await memory.stored()).length === 1, 'the first access to be written')
    return { ...memory, store }
  }

  test('waits longer than a first one, and is written when something is read', async () => {
    await using memory = await recorded(hour)
    memory.buffer.touch(one, 10, 2)
    memory.buffer.touch(two, 10, 100)
    await until(async () => (await memory.stored()).length === 2, 'the access to the other blob to be written')
    assert.deepEqual(await memory.stored(), [access(1), { digest: two, size: 10, at: 100 }])
    await memory.buffer.usage()
    assert.deepEqual((await memory.stored())[0], access(2))
  })

  test('is written after its own delay', async () => {
    await using memory = await recorded(10)
    memory.buffer.touch(one, 10, 2)
    await until(async () => (await memory.stored())[0]?.at === 2, 'the second access to be written')
    assert.deepEqual(memory.failures, [])
  })

  test('is written when the buffer closes', async () => {
    await using memory = await recorded(hour)
    memory.buffer.touch(one, 10, 2)
    const before = memory.store.calls.length
    await memory.buffer.close()
    assert.deepEqual(memory.store.calls.slice(before), ['recordAccesses'])
    assert.deepEqual(await memory.stored(), [access(2)])
  })

  test('counts as a first one if the size has changed, or the blob was forgotten', async () => {
    await using memory = await recorded(hour)
    memory.buffer.touch(one, 11, 2)
    await until(async () => (await memory.stored())[0]?.at === 2, 'the new size to be written')
    assert.deepEqual(await memory.stored(), [access(2, 11)])
    assert.equal(await memory.buffer.forgetAccess(one, 2), true)
    memory.buffer.touch(one, 11, 3)
    await until(async () => (await memory.stored()).length === 1, 'the access to be written again')
    assert.deepEqual(await memory.stored(), [access(3, 11)])
  })

  test('keeps the blob from being forgotten while it waits', async () => {
    await using memory = await recorded(hour)
    memory.store.failure = new Error('no')
    memory.store.failing = 'recordAccesses'
    memory.buffer.touch(one, 10, 2)
    assert.equal(await memory.buffer.forgetAccess(one, 1), false)
    // A first access by its size, and later than the repeated one.
    memory.buffer.touch(one, 12, 3)
    assert.equal(await memory.buffer.forgetAccess(one, 2), false)
    memory.store.failure = undefined
    assert.equal(await memory.buffer.forgetAccess(one, 3), true)
    assert.deepEqual(await memory.stored(), [])
  })

  test('is withdrawn when the blob is forgotten, unless it is later', async () => {
    await using memory = await recorded(hour)
    memory.store.failure = new Error('no')
    memory.store.failing = 'recordAccesses'
    memory.buffer.touch(one, 10, 1)
    assert.equal(await memory.buffer.forgetAccess(one, 1), true)
    memory.store.failure = undefined
    await memory.buffer.usage()
    assert.deepEqual(await memory.stored(), [])
  })

  test('of an earlier time gives way to a first one with another size', async () => {
    await using memory = await recorded(hour)
    memory.store.failure = new Error('no')
    memory.store.failing = 'recordAccesses'
    memory.buffer.touch(one, 10, 2)
    memory.buffer.touch(one, 12, 3)
    assert.equal(await memory.buffer.forgetAccess(one, 1), false)
    memory.store.failure = undefined
    await memory.buffer.usage()
    assert.deepEqual(await memory.stored(), [access(3, 12)])
  })

  test('records a blob again that was forgotten meanwhile', async () => {
    await using memory = await recorded(hour)
    memory.store.gate = new Gate()
    const forgetting = memory.buffer.forgetAccess(one, 1)
    await memory.store.gate.arrived()
    memory.buffer.touch(one, 10, 2)
    memory.store.gate.open()
    assert.equal(await forgetting, false)
    await memory.buffer.usage()
    assert.deepEqual(await memory.stored(), [access(2)])
  })
})
