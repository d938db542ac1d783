import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { RedisServer, redisSuite } from '../metadata/redis/redis-server.ts'
import { type GetOptions, get, type Received } from '../support/client.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'
import { known, layer, lies, repository, stock, unknown } from './support/lies.ts'

// Each lie of an upstream again, for a mirror that has its content and has lost its memory of it, more or less.

const ttl = 5 * 60_000
const manifests = `/v2/${repository}/manifests`
const blobs = `/v2/${repository}/blobs`

type Ask = (path: string, options?: GetOptions) => Promise<Received>

async function pull(ask: Ask): Promise<void> {
  assert.equal((await ask(`${manifests}/known`)).status, 200)
  for (const { digest } of [known.config, ...known.layers])
    assert.equal((await ask(`${blobs}/${digest}`)).digest, digest)
}

async function stocked(): Promise<Stage> {
  const stage = await Stage.start()
  stock(stage.upstream)
  await pull((path) => stage.get(path))
  await until(async () => (await stage.mirror.stats()).storage.blobs === 2 + known.layers.length, 'all to be stored')
  return stage
}

function lie(upstream: TestUpstream, behaviour: (typeof lies)[number]['behaviour']): void {
  upstream.fault({ kind: 'manifest' }, behaviour)
  upstream.fault({ kind: 'blob' }, behaviour)
}

/** By digest, in every way that there is. */
async function assertServedByDigest(ask: Ask): Promise<void> {
  const { digest, body, mediaType } = known.manifest
  const byDigest = await ask(`${manifests}/${digest}`)
  assert.deepEqual([byDigest.status, byDigest.body, byDigest.headers['content-type']], [200, body, mediaType])
  const head = await ask(`${blobs}/${layer.digest}`, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers['content-length']], [200, `${layer.size}`])
  assert.equal((await ask(`${blobs}/${layer.digest}`)).digest, layer.digest)
  const part = await ask(`${blobs}/${layer.digest}`, { headers: { range: 'bytes=7-20' } })
  assert.deepEqual([part.status, part.body], [206, layer.body.subarray(7, 21)])
}

async function assertGoodTag(ask: Ask): Promise<void> {
  for (const method of ['GET', 'HEAD']) {
    const answer = await ask(`${manifests}/known`, { method })
    assert.deepEqual([answer.status, answer.headers['docker-content-digest']], [200, known.manifest.digest])
    if (method === 'GET') assert.deepEqual(answer.body, known.manifest.body)
  }
}

function files(path: string): Promise<string[]> {
  return readdir(join(path, 'blobs', 'sha256')).catch(() => [])
}

describe('after a restart, before an upstream that answers with', () => {
  for (const { name, behaviour, manifest } of lies) {
    it(`${name}: what is known stays, and nothing is stored`, async () => {
      await using stage = await stocked()
      const ask: Ask = (path, options) => stage.get(path, options)
      const before = await files(stage.path)
      lie(stage.upstream, behaviour)
      await stage.restart()
      await assertGoodTag(ask)
      await assertServedByDigest(ask)
      stage.clock.now += ttl + 1000
      await assertGoodTag(ask)
      await assertServedByDigest(ask)
      assert.equal((await ask(`${manifests}/new`)).status, manifest)
      assert.equal((await ask(`${manifests}/${unknown.manifest.digest}`)).status, manifest)
      assert.deepEqual(await files(stage.path), before)
    })
  }
})

describe('after the metadata was lost, before an upstream that answers with', () => {
  for (const { name, behaviour, manifest } of lies) {
    it(`${name}: digests are served, a tag is what the upstream proves, and nothing is stored`, async () => {
      await using stage = await stocked()
      const ask: Ask = (path, options) => stage.get(path, options)
      const before = await files(stage.path)
      lie(stage.upstream, behaviour)
      await stage.stop()
      for (const file of await readdir(stage.path)) {
        if (file.startsWith('metadata.sqlite')) await rm(join(stage.path, file))
      }
      await stage.restart()
      await until(async () => (await ask(`${manifests}/${known.manifest.digest}`)).status === 200, 'the rebuild')
      await assertServedByDigest(ask)
      assert.equal((await ask(`${manifests}/known`)).status, manifest)
      await assertServedByDigest(ask)
      assert.deepEqual(await files(stage.path), before)
      stage.upstream.clearFaults()
      stage.clock.now += 2 * 60 * 60_000
      await assertGoodTag(ask)
    })
  }
})

redisSuite('through Redis from another mirror, before an upstream that answers with', () => {
  for (const { name, behaviour } of lies) {
    it(`${name}: what is known stays, nothing is stored, and the other mirror is not misled`, async () => {
      await using redis = await RedisServer.start()
      await using upstream = await TestUpstream.start()
      stock(upstream)
      const clock = { now: Date.now() }
      const begin = () =>
        startMirror({
          upstreams: { 'docker.io': upstream.url },
          config: { metadata: { kind: 'redis', url: redis.url } },
          clock,
        })
      const askOf =
        ({ url }: TestMirror): Ask =>
        (path, options) =>
          get(`${url}${path}`, options)
      await using one = await begin()
      await pull(askOf(one))
      const key = `entrepot:tag:docker.io/${repository}:known`
      await until(async () => (await redis.hash(key))['digest'], 'the tag in Redis')
      lie(upstream, behaviour)
      await using other = await begin()
      for (const path of [`${manifests}/known`, `${manifests}/${known.manifest.digest}`]) {
        const { status } = await askOf(other)(path)
        // Known to another mirror, so that a refusal is no absence of the tag.
        assert.ok(status >= 500 || (status === 404 && path.includes('sha256')), `${path}: ${status}`)
      }
      assert.deepEqual(await files(other.path), [])
      assert.equal((await redis.hash(key))['digest'], known.manifest.digest)
      clock.now += ttl + 1000
      await assertGoodTag(askOf(one))
      await assertServedByDigest(askOf(one))
      upstream.clearFaults()
      clock.now += 60 * 60_000
      await assertGoodTag(askOf(other))
      await assertServedByDigest(askOf(other))
    })
  }
})
