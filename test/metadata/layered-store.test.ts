import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { LayeredStore } from '../../src/metadata/layered-store.ts'
import { MemoryTier } from '../../src/metadata/memory/memory-tier.ts'
import type { Link, TagRecord } from '../../src/metadata/metadata-store.ts'
import type { RedisConnectionOptions } from '../../src/metadata/redis/redis-connection.ts'
import { RedisStore } from '../../src/metadata/redis/redis-store.ts'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { metadataStoreConformance } from '../conformance/metadata-store.ts'
import { Gate } from '../support/gate.ts'
import { until } from '../support/wait.ts'
import { RedisServer, redisSuite } from './redis/redis-server.ts'
import { TroubledStore } from './troubled-store.ts'

const repository = 'docker.io/library/alpine'
const one = digestOf(Buffer.from('one'))
const two = digestOf(Buffer.from('two'))
const link: Link = { kind: 'blob', digest: one, size: 7, mediaType: 'application/x', visibility: 'public' }
const noFailure = (error: unknown) => assert.fail(`failed: ${error}`)

function record(checkedAt: number, digest = one): TagRecord {
  return { digest, mediaType: 'application/x', size: 1, etag: undefined, checkedAt }
}

function layered() {
  const shared = new TroubledStore()
  const local = new TroubledStore()
  const failures: unknown[] = []
  const store = new LayeredStore(shared, local, { onFailure: (error) => failures.push(error) })
  const close = async () => {
    shared.gate?.open()
    await store[Symbol.asyncDispose]()
  }
  return { shared, local, failures, store, [Symbol.asyncDispose]: close }
}

metadataStoreConformance('Two layers', async () => {
  return new LayeredStore(SqliteStore.open(':memory:'), SqliteStore.open(':memory:'), { onFailure: noFailure })
})

metadataStoreConformance('Two layers with a failing shared store', async () => {
  const shared = new TroubledStore()
  shared.failure = new Error('no Redis')
  return new LayeredStore(shared, SqliteStore.open(':memory:'), { onFailure: () => undefined })
})

suite('A layered store', () => {
  test('answers with the newer record of a tag, and writes it to the other store', async () => {
    await using layers = layered()
    const { shared, local, store } = layers
    await shared.inner.setTag(repository, 'both', record(2))
    await local.inner.setTag(repository, 'both', record(1, two))
    assert.deepEqual(await store.tag(repository, 'both'), record(2))
    assert.deepEqual(await local.inner.tag(repository, 'both'), record(2))
    await local.inner.setTag(repository, 'both', record(3, two))
    assert.deepEqual(await store.tag(repository, 'both'), record(3, two))
    await until(async () => (await shared.inner.tag(repository, 'both'))?.checkedAt === 3, 'the shared store to learn')
    await shared.inner.setTag(repository, 'shared', record(1))
    assert.deepEqual(await store.tag(repository, 'shared'), record(1))
    assert.deepEqual(await local.inner.tag(repository, 'shared'), record(1))
    await local.inner.setTag(repository, 'local', record(1))
    assert.deepEqual(await store.tag(repository, 'local'), record(1))
    await until(() => shared.inner.tag(repository, 'local'), 'the shared store to learn')
  })

  test('writes to neither store when they agree', async () => {
    await using layers = layered()
    await layers.store.setTag(repository, 'latest', record(1))
    await until(() => layers.shared.inner.tag(repository, 'latest'), 'the write behind')
    await layers.store.addLinks(repository, [{ ...link, size: undefined }])
    await until(() => layers.shared.inner.link(repository, 'blob', one), 'the write behind')
    const calls = () => [layers.shared, layers.local].flatMap((each) => each.calls.splice(0))
    calls()
    await layers.store.tag(repository, 'latest')
    await layers.store.link(repository, 'blob', one)
    assert.deepEqual(calls(), ['tag', 'link', 'tag', 'link'])
  })

  test('prefers the shared record of two that were checked at the same time', async () => {
    await using layers = layered()
    await layers.shared.inner.setTag(repository, 'latest', record(1))
    await layers.local.inner.setTag(repository, 'latest', record(1, two))
    assert.deepEqual(await layers.store.tag(repository, 'latest'), record(1))
    assert.deepEqual(await layers.local.inner.tag(repository, 'latest'), record(1))
  })

  test('merges the links of both stores, and writes the merged link to both', async () => {
    await using layers = layered()
    const { shared, local, store } = layers
    await shared.inner.addLinks(repository, [{ ...link, size: undefined }])
    await local.inner.addLinks(repository, [{ ...link, visibility: 'unproven' }])
    assert.deepEqual(await store.link(repository, 'blob', one), link)
    assert.deepEqual(await local.inner.link(repository, 'blob', one), link)
    await until(async () => (await shared.inner.link(repository, 'blob', one))?.size === 7, 'the shared store to learn')
    await shared.inner.addLinks(repository, [{ ...link, digest: two }])
    assert.deepEqual(await store.link(repository, 'blob', two), { ...link, digest: two })
    assert.deepEqual(await local.inner.link(repository, 'blob', two), { ...link, digest: two })
  })

  test('answers with a complete local link at once, and writes it to a shared store that lost it', async () => {
    await using layers = layered()
    const { shared, local, store } = layers
    await local.inner.addLinks(repository, [link])
    const gate = new Gate()
    shared.gate = gate
    assert.deepEqual(await store.link(repository, 'blob', one), link)
    gate.open()
    await until(() => shared.inner.link(repository, 'blob', one), 'the shared store to learn')
    assert.deepEqual(shared.calls, ['addLinks'])
  })

  test('waits only for local writes, and reads locally until the shared store has been written', async () => {
    await using layers = layered()
    const { shared, store } = layers
    await shared.inner.setTag(repository, 'deleted', record(9))
    const gate = new Gate()
    shared.gate = gate
    await store.setTag(repository, 'latest', record(1))
    await store.deleteTag(repository, 'deleted')
    await store.addLinks(repository, [link])
    assert.deepEqual(await store.tag(repository, 'latest'), record(1))
    assert.equal(await store.tag(repository, 'deleted'), undefined)
    assert.deepEqual(await store.link(repository, 'blob', one), link)
    gate.open()
    await until(() => shared.inner.tag(repository, 'latest'), 'the write behind')
    assert.equal(await store.tag(repository, 'deleted'), undefined)
    assert.equal(await shared.inner.tag(repository, 'deleted'), undefined)
  })

  test('does not put a deleted tag back after a read that started before the deletion', async () => {
    await using layers = layered()
    const { shared, local, store } = layers
    await shared.inner.setTag(repository, 'latest', record(1))
    const gate = new Gate()
    shared.gate = gate
    const reading = store.tag(repository, 'latest')
    await gate.arrived()
    await store.deleteTag(repository, 'latest')
    gate.open()
    await reading
    assert.equal(await local.inner.tag(repository, 'latest'), undefined)
    await until(async () => !(await shared.inner.tag(repository, 'latest')), 'the deletion behind')
  })

  test('goes on with one store when the other fails, and reports it; fails when both fail', async () => {
    await using layers = layered()
    const { shared, local, store, failures } = layers
    local.failure = new Error('no disk')
    await store.setTag(repository, 'latest', record(1))
    await store.addLinks(repository, [link])
    assert.deepEqual(failures, [local.failure, local.failure])
    await until(() => shared.inner.link(repository, 'blob', one), 'the write behind')
    await until(() => shared.inner.tag(repository, 'latest'), 'the write behind')
    await until(async () => (await store.tag(repository, 'latest'))?.checkedAt === 1, 'the shared record')
    assert.deepEqual(await store.link(repository, 'blob', one), link)
    shared.failure = new Error('no Redis')
    await assert.rejects(store.tag(repository, 'latest'), local.failure)
    await assert.rejects(store.link(repository, 'blob', two), local.failure)
  })
})

redisSuite('Redis over SQLite', () => {
  let server: RedisServer
  before(async () => {
    server = await RedisServer.start()
  })
  after(() => server[Symbol.asyncDispose]())

  async function open(options: RedisConnectionOptions = {}) {
    const troubles: string[] = []
    const redis = await RedisStore.open(server.url, {
      commandTimeout: 200,
      connectTimeout: 200,
      probeInterval: 5,
      onUnavailable: ({ message }) => troubles.push(message),
      onAvailable: () => troubles.push('available'),
      ...options,
    })
    const sqlite = SqliteStore.open(':memory:')
    const store = new LayeredStore(redis, sqlite, { onFailure: noFailure })
    return { store, redis, sqlite, troubles, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
  }

  const patient = { commandTimeout: 10_000, connectTimeout: 10_000 }

  metadataStoreConformance('Redis over SQLite', async () => {
    await server.ask('FLUSHALL')
    return (await open(patient)).store
  })

  metadataStoreConformance('Memory in front of Redis over SQLite', async () => {
    await server.ask('FLUSHALL')
    const { store, sqlite } = await open(patient)
    return new MemoryTier({ store, accesses: sqlite.index, onFailure: noFailure })
  })

  test('shares the tags and links of one mirror with another', async () => {
    await using here = await open(patient)
    await using there = await open(patient)
    await here.store.setTag(repository, 'latest', record(5))
    await here.store.addLinks(repository, [link])
    await until(() => there.store.tag(repository, 'latest'), 'the tag')
    assert.deepEqual(await until(() => there.store.link(repository, 'blob', one), 'the link'), link)
  })

  test('down at the start: answers from SQLite, and writes to Redis later', async () => {
    await server.ask('FLUSHALL')
    await server.kill()
    await using here = await open()
    await here.store.setTag(repository, 'latest', record(5))
    await here.store.addLinks(repository, [link])
    assert.deepEqual(await here.store.tag(repository, 'latest'), record(5))
    assert.deepEqual(await here.store.link(repository, 'blob', one), link)
    assert.equal(await here.store.tag(repository, 'other'), undefined)
    assert.equal(here.troubles.length, 1)
    await server.run()
    await until(() => here.troubles.includes('available'), 'Redis to be found')
    await here.store.tag(repository, 'latest')
    await here.store.link(repository, 'blob', one)
    assert.deepEqual(await until(() => here.redis.tag(repository, 'latest'), 'the refill'), record(5))
    assert.deepEqual(await until(() => here.redis.link(repository, 'blob', one), 'the refill'), link)
  })

  test('killed: answers from SQLite until Redis is back', async () => {
    await using here = await open()
    await here.store.setTag(repository, 'killed', record(5))
    await until(() => here.redis.tag(repository, 'killed'), 'the write behind')
    await server.kill()
    for (let n = 0; n < 1000; n += 1) assert.deepEqual(await here.store.tag(repository, 'killed'), record(5))
    await here.store.setTag(repository, 'killed', record(6))
    assert.deepEqual(await here.store.tag(repository, 'killed'), record(6))
    await server.run()
    await until(() => here.troubles.includes('available'), 'Redis to be found')
    assert.deepEqual(await here.store.tag(repository, 'killed'), record(6))
    assert.deepEqual(await until(() => here.redis.tag(repository, 'killed'), 'the refill'), record(6))
  })

  test('paused: one read waits for the time-out, no other read and no write does', async () => {
    await using here = await open()
    await here.store.setTag(repository, 'paused', record(5))
    await until(() => here.redis.tag(repository, 'paused'), 'the write behind')
    const before = await server.count('hgetall')
    server.pause()
    for (let n = 0; n < 1000; n += 1) assert.deepEqual(await here.store.tag(repository, 'paused'), record(5))
    for (let n = 6; n < 1000; n += 1) await here.store.setTag(repository, 'paused', record(n))
    for (let n = 0; n < 1000; n += 1) await here.store.link(repository, 'blob', two)
    assert.deepEqual(await here.store.tag(repository, 'paused'), record(999))
    assert.match(here.troubles.join(), /no answer within 200 ms/)
    server.resume()
    const asked = (await server.count('hgetall')) - before
    assert.ok(asked <= 1, `${asked} of 2001 reads reached Redis`)
    await until(() => here.troubles.includes('available'), 'Redis to be found')
    assert.deepEqual(await here.store.tag(repository, 'paused'), record(999))
    await until(async () => (await here.redis.tag(repository, 'paused'))?.checkedAt === 999, 'the refill')
  })

  test('emptied: reads refill it, and an older record never replaces a newer one', async () => {
    await using here = await open()
    await using there = await open()
    await here.store.setTag(repository, 'emptied', record(5))
    await until(() => there.store.tag(repository, 'emptied'), 'the tag')
    await here.store.setTag(repository, 'emptied', record(6, two))
    await until(async () => (await here.redis.tag(repository, 'emptied'))?.checkedAt === 6, 'the write behind')
    await server.ask('FLUSHALL')
    assert.deepEqual(await there.store.tag(repository, 'emptied'), record(5))
    await until(() => here.redis.tag(repository, 'emptied'), 'the refill')
    assert.deepEqual(await here.store.tag(repository, 'emptied'), record(6, two))
    await until(async () => (await here.redis.tag(repository, 'emptied'))?.checkedAt === 6, 'the refill')
    assert.deepEqual(await there.store.tag(repository, 'emptied'), record(6, two))
  })

  test('a tag deleted by one mirror is gone for another that does not have it locally', async () => {
    await using here = await open(patient)
    await using there = await open(patient)
    await here.store.setTag(repository, 'deleted', record(5))
    await until(() => there.redis.tag(repository, 'deleted'), 'the write behind')
    await here.store.deleteTag(repository, 'deleted')
    await until(async () => !(await there.redis.tag(repository, 'deleted')), 'the deletion behind')
    assert.equal(await there.store.tag(repository, 'deleted'), undefined)
    assert.equal(await here.store.tag(repository, 'deleted'), undefined)
  })
})
