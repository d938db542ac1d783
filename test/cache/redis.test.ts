import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RedisServer, redisSuite } from '../metadata/redis/redis-server.ts'
import { get } from '../support/client.ts'
import { image, randomBlob } from '../support/image.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'

const names = Array.from({ length: 10 }, (_, n) => `library/image${n}`)

redisSuite('a mirror that keeps its metadata in Redis', () => {
  async function stocked(): Promise<TestUpstream> {
    const upstream = await TestUpstream.dockerHub()
    names.forEach((name, n) => {
      upstream.addImage(name, 'latest', image({ layers: [randomBlob(5000, n), randomBlob(200_000, 100 + n)] }))
    })
    return upstream
  }

  function mirrorOf(upstream: TestUpstream, redis: RedisServer, tagTtl = '1h'): Promise<TestMirror> {
    return startMirror({
      upstreams: { 'docker.io': { url: upstream.url, tagTtl } },
      config: { metadata: { kind: 'redis', url: redis.url } },
    })
  }

  async function pull(mirror: TestMirror, name: string): Promise<void> {
    const manifest = await get(`${mirror.url}/v2/${name}/manifests/latest`)
    assert.equal(manifest.status, 200)
    assert.ok(manifest.complete)
    for (const { digest } of manifest.json<{ layers: { digest: string }[] }>().layers) {
      const blob = await get(`${mirror.url}/v2/${name}/blobs/${digest}`)
      assert.equal(blob.digest, digest)
    }
  }

  const pullAll = (mirror: TestMirror) => Promise.all(names.map((name) => pull(mirror, name)))

  test('keeps the ETag and the last check of a tag there', async () => {
    await using redis = await RedisServer.start()
    await using upstream = await stocked()
    await using mirror = await mirrorOf(upstream, redis)
    await pull(mirror, 'library/image0')
    const key = 'entrepot:tag:docker.io/library/image0:latest'
    await until(async () => (await redis.hash(key))['checkedAt'], 'the tag in Redis')
    const { digest, etag, mediaType, size } = await redis.hash(key)
    assert.equal(etag, `"${digest}"`)
    assert.match(String(mediaType), /^application\/vnd\./)
    assert.ok(Number(size) > 0)
  })

  test('does not check again what another mirror on the same Redis has checked', async () => {
    await using redis = await RedisServer.start()
    await using upstream = await stocked()
    await using one = await mirrorOf(upstream, redis)
    await pull(one, 'library/image0')
    const key = 'entrepot:tag:docker.io/library/image0:latest'
    await until(async () => (await redis.hash(key))['checkedAt'], 'the tag in Redis')
    await using other = await mirrorOf(upstream, redis)
    upstream.reset()
    const manifest = await get(`${other.url}/v2/library/image0/manifests/latest`)
    assert.equal(manifest.status, 200)
    const byTag = upstream.requests.filter(({ kind, reference }) => kind === 'manifest' && reference === 'latest')
    assert.deepEqual(byTag, [], 'the tag was known; only its manifest had to come')
  })

  for (const [trouble, begin, end] of [
    ['killed', (redis) => redis.kill(), (redis) => redis.run()],
    ['paused', (redis) => redis.pause(), (redis) => redis.resume()],
    ['emptied', (redis) => redis.ask('FLUSHALL'), () => undefined],
  ] as const satisfies readonly [string, (redis: RedisServer) => unknown, (redis: RedisServer) => unknown][]) {
    test(`serves all that is cached while Redis is ${trouble} under load, and recovers by itself`, async () => {
      await using redis = await RedisServer.start()
      await using upstream = await stocked()
      // Every pull looks beyond this process's memory, so that Redis is on the way of each.
      await using mirror = await mirrorOf(upstream, redis, '0s')
      await pullAll(mirror)
      const load = Promise.all(Array.from({ length: 5 }, () => pullAll(mirror)))
      await begin(redis)
      await load
      await pullAll(mirror)
      await end(redis)
      await pullAll(mirror)
      await until(async () => {
        await pullAll(mirror)
        const hashes = await Promise.all(names.map((name) => redis.hash(`entrepot:tag:docker.io/${name}:latest`)))
        return hashes.every(({ digest }) => digest !== undefined)
      }, 'every tag back in Redis')
    })
  }

  test('starts without Redis, says so once without the password, and serves', async () => {
    await using redis = await RedisServer.start()
    await redis.kill()
    await using upstream = await stocked()
    await using mirror = await startMirror({
      upstreams: { 'docker.io': { url: upstream.url } },
      config: { metadata: { kind: 'redis', url: redis.url.replace('//', '//:a-secret@') } },
    })
    await pullAll(mirror)
    await pullAll(mirror)
    await mirror.stop()
    const told = mirror.log.filter(({ msg }) => /redis/i.test(String(msg)))
    assert.equal(told.length, 1)
    assert.equal(told[0]?.['level'], 'error')
    assert.ok(!JSON.stringify(mirror.log).includes('a-secret'))
  })

  test('is told loudly that Redis refuses its password', async () => {
    await using redis = await RedisServer.start('--requirepass', 'right')
    await using upstream = await stocked()
    await using mirror = await startMirror({
      upstreams: { 'docker.io': { url: upstream.url } },
      config: { metadata: { kind: 'redis', url: redis.url.replace('//', '//:wrong-one@') } },
    })
    await pull(mirror, 'library/image0')
    await mirror.stop()
    assert.ok(mirror.log.some(({ level, msg }) => level === 'error' && /redis/i.test(String(msg))))
    assert.ok(!JSON.stringify(mirror.log).includes('wrong-one'))
  })
})
