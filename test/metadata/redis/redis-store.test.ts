import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { TagRecord } from '../../../src/metadata/metadata-store.ts'
import { MetadataUnavailable } from '../../../src/metadata/metadata-unavailable.ts'
import { RedisStore } from '../../../src/metadata/redis/redis-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { metadataStoreConformance } from '../../conformance/metadata-store.ts'
import { until } from '../../support/wait.ts'
import { RedisCluster, RedisServer, redisSuite } from './redis-server.ts'

/** Long, for tests that are not about time-outs. */
const patient = { commandTimeout: 10_000, connectTimeout: 10_000 }
const repository = 'docker.io/library/alpine'
const digest = digestOf(Buffer.from('one'))
const record: TagRecord = { digest, mediaType: 'application/x', size: 528, etag: '"v1"', checkedAt: 1_700_000_000_000 }
const link = { kind: 'blob', digest, size: 7, mediaType: 'application/y', visibility: 'public' } as const

redisSuite('Redis', () => {
  let server: RedisServer
  before(async () => {
    server = await RedisServer.start()
  })
  after(() => server[Symbol.asyncDispose]())

  async function emptied(): Promise<RedisStore> {
    await server.ask('FLUSHALL')
    return RedisStore.open(server.url, patient)
  }

  metadataStoreConformance('Redis', emptied)

  test('holds the documented keys, each for 90 days from its last write', async () => {
    await using store = await emptied()
    await store.setTag(repository, 'latest', record)
    await store.addLinks(repository, [link, { ...link, kind: 'manifest', size: undefined, visibility: 'unproven' }])
    const hashes = {
      [`entrepot:tag:${repository}:latest`]: {
        digest,
        mediaType: 'application/x',
        size: '528',
        etag: '"v1"',
        checkedAt: '1700000000000',
      },
      [`entrepot:link:{${repository}}:blob:${digest}`]: { mediaType: 'application/y', size: '7', visibility: 'public' },
      [`entrepot:link:{${repository}}:manifest:${digest}`]: { mediaType: 'application/y', visibility: 'unproven' },
    }
    for (const [key, hash] of Object.entries(hashes)) assert.deepEqual(await server.hash(key), hash)
    const keys = [...Object.keys(hashes), 'entrepot:probe'].sort()
    assert.deepEqual(((await server.ask('KEYS', '*')) as string[]).sort(), keys)
    const days = async (key: string) => Math.round(Number(await server.ask('TTL', key)) / 86_400)
    for (const key of keys) {
      assert.equal(await days(key), 90, key)
      await server.ask('EXPIRE', key, '1000')
    }
    await store.setTag(repository, 'latest', { ...record, checkedAt: record.checkedAt + 1 })
    await store.addLinks(repository, [link])
    for (const key of keys.filter((key) => !/probe|manifest/.test(key))) assert.equal(await days(key), 90, key)
  })

  test('takes what is no record for absent, and lets any record replace it', async () => {
    await using store = await emptied()
    const tag = (name: string) => `entrepot:tag:${repository}:${name}`
    const linkKey = `entrepot:link:{${repository}}:blob:${digest}`
    const good = { digest, mediaType: 'application/x', size: '1', checkedAt: '1900000000000' }
    const wrong: Record<string, Record<string, string>> = {
      partial: { digest, size: '1' },
      digest: { ...good, digest: 'sha256:1' },
      lines: { ...good, mediaType: 'application/x\r\nx-more: 1' },
      size: { ...good, size: '-1' },
      time: { ...good, checkedAt: '1e400' },
      foreign: { name: 'x' },
    }
    for (const [name, hash] of Object.entries(wrong)) {
      await server.ask('HSET', tag(name), ...Object.entries(hash).flat())
      assert.equal(await store.tag(repository, name), undefined, name)
      await store.setTag(repository, name, { ...record, checkedAt: 5 })
      assert.deepEqual(await store.tag(repository, name), { ...record, checkedAt: 5 }, name)
    }
    await server.ask('SET', tag('text'), 'text')
    assert.equal(await store.tag(repository, 'text'), undefined)
    await store.setTag(repository, 'text', record)
    assert.deepEqual(await store.tag(repository, 'text'), record)

    for (const change of [{ visibility: 'secret' }, { mediaType: 'x\n' }, { size: '1.5' }]) {
      const hash = { mediaType: 'application/x', visibility: 'public', size: '7', ...change }
      await server.ask('HSET', linkKey, ...Object.entries(hash).flat())
      assert.equal(await store.link(repository, 'blob', digest), undefined)
      await store.addLinks(repository, [{ ...link, size: undefined, visibility: 'unproven' }])
      const added = { ...link, size: undefined, visibility: 'unproven' }
      assert.deepEqual(await store.link(repository, 'blob', digest), added, JSON.stringify(change))
      await server.ask('DEL', linkKey)
    }
  })

  test('an etag that cannot be sent is left out', async () => {
    await using store = await emptied()
    await store.setTag(repository, 'latest', { ...record, etag: '"a"\r\nx: y' })
    assert.deepEqual(await store.tag(repository, 'latest'), { ...record, etag: undefined })
  })

  test('that lost its scripts gets them again', async () => {
    await using store = await emptied()
    await store.setTag(repository, 'latest', { ...record, checkedAt: 1 })
    await server.ask('SCRIPT', 'FLUSH')
    await store.setTag(repository, 'latest', record)
    assert.deepEqual(await store.tag(repository, 'latest'), record)
  })
})

redisSuite('Redis Cluster', () => {
  let cluster: RedisCluster
  before(async () => {
    cluster = await RedisCluster.start()
  })
  after(() => cluster[Symbol.asyncDispose]())

  metadataStoreConformance('Redis Cluster', async () => {
    await cluster.ask('FLUSHALL')
    return RedisStore.open(cluster.url, patient)
  })

  test('is reached by any node that the URL names', async () => {
    const troubles: string[] = []
    const onUnavailable = ({ message }: MetadataUnavailable) => troubles.push(message)
    const url = cluster.url.replace(/\d+\?/, '1?')
    await using store = await RedisStore.open(url, { ...patient, onUnavailable })
    await store.setTag(repository, 'latest', record)
    assert.deepEqual(await store.tag(repository, 'latest'), record)
    assert.deepEqual(troubles, [])
  })

  test('without cluster=true says what the URL needs', async () => {
    const troubles: string[] = []
    const onUnavailable = ({ message }: MetadataUnavailable) => troubles.push(message)
    const urls = cluster.nodes.map(({ url }) => url)
    for (const url of urls) {
      await using store = await RedisStore.open(url, { ...patient, onUnavailable })
      await store.setTag(repository, 'latest', record).catch(() => undefined)
      await store.setTag(repository, 'edge', record).catch(() => undefined)
    }
    assert.match(troubles.join(), /it is a Redis Cluster, and its URL needs \?cluster=true/)
  })

  test('is unavailable while its nodes are paused, and works again afterwards', async () => {
    const troubles: string[] = []
    const quick = { commandTimeout: 300, connectTimeout: 1000, probeInterval: 5 }
    const onUnavailable = ({ message }: MetadataUnavailable) => troubles.push(message)
    await using store = await RedisStore.open(cluster.url, { ...quick, onUnavailable })
    await store.setTag(repository, 'latest', record)
    for (const node of cluster.nodes) node.pause()
    for (let n = 0; n < 100; n += 1) await assert.rejects(store.tag(repository, 'latest'), MetadataUnavailable)
    assert.ok(troubles.length > 0)
    for (const node of cluster.nodes) node.resume()
    const found = await until(() => store.tag(repository, 'latest').catch(() => undefined), 'the cluster')
    assert.deepEqual(found, record)
  })
})
