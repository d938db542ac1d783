import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { get } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { randomBlob } from '../support/image.ts'
import { House, repository } from './support/house.ts'

describe('an empty blob', () => {
  const empty = digestOf(Buffer.alloc(0))

  for (const how of ['with its length', 'in chunks', 'linked'] as const) {
    it(`is served cold and stored, ${how}`, async () => {
      await using house = await House.open()
      house.upstream.addBlob(repository, Buffer.alloc(0))
      if (how === 'linked') await house.describe(empty, 0)
      if (how === 'in chunks') house.upstream.fault({ kind: 'blob', method: 'GET' }, { chunked: true })
      const cold = await Promise.all([house.get(empty), house.get(empty)])
      for (const { status, complete, digest } of cold) assert.deepEqual([status, complete, digest], [200, true, empty])
      await house.settled()
      const hit = await house.get(empty)
      assert.deepEqual([hit.status, hit.headers['content-length']], [200, '0'])
      assert.equal(hit.headers['cache-status'], 'entrepot; hit')
      assert.equal((await house.range(empty, '0-')).status, 416)
      assert.equal((await house.get(empty, { method: 'HEAD' })).headers['content-length'], '0')
    })
  }

  it('is verified before its headers leave', async () => {
    await using house = await House.open()
    const other = digestOf(Buffer.from('not empty'))
    house.upstream.addBlob(repository, Buffer.alloc(0), other)
    const got = await Promise.all([house.get(other), house.get(other), house.range(other, '0-')])
    for (const { status } of got) assert.equal(status, 502)
    assert.equal((await house.range(other, '0-')).status, 503)
    await house.settled()
    assert.deepEqual(await house.stored(), [])
  })
})

describe('a manifest that two repositories call different things', () => {
  it('has the media type of the repository it is asked through', async () => {
    await using house = await House.open()
    const body = Buffer.from('{"schemaVersion":2}')
    const types = {
      'team/one': 'application/vnd.one.manifest.v1+json',
      'team/two': 'application/vnd.two.manifest.v1+json',
    }
    for (const [name, mediaType] of Object.entries(types))
      house.upstream.addManifest(name, { mediaType, body }, 'latest')
    for (let round = 0; round < 2; round += 1) {
      for (const [name, mediaType] of Object.entries(types)) {
        for (const reference of ['latest', digestOf(body)]) {
          const { headers } = await get(`${house.mirror.url}/v2/${name}/manifests/${reference}`)
          assert.equal(headers['content-type'], mediaType, name)
        }
      }
    }
  })
})

describe('a blob of another algorithm', () => {
  for (const algorithm of ['sha512', 'sha384'] as const) {
    it(`is verified by ${algorithm}`, async () => {
      await using house = await House.open()
      const body = randomBlob(300_000)
      const digest = house.upstream.addBlob(repository, body, digestOf(body, algorithm))
      const gate = new Gate()
      house.upstream.fault({ kind: 'blob' }, { flipByteAt: 1, times: 1, gate })
      gate.open()
      assert.equal((await house.get(digest)).complete, false)
      for (const status of ['entrepot; fwd=uri-miss; stored', 'entrepot; hit']) {
        const got = await house.get(digest)
        assert.ok(got.body?.equals(body))
        assert.equal(got.headers['docker-content-digest'], digest)
        assert.equal(got.headers['cache-status'], status)
        await house.settled()
      }
      const { status } = await get(`${house.mirror.url}/v2/${repository}/blobs/${algorithm}:00`)
      assert.equal(status, 400)
    })
  }
})

describe('what an upstream says of a size', () => {
  it('counts for that download only', async () => {
    await using house = await House.open()
    const body = randomBlob(300_000)
    const digest = house.upstream.addBlob(repository, body)
    house.upstream.fault({ kind: 'blob', method: 'GET' }, { truncateTo: 200_000, times: 1 })
    house.upstream.fault({ kind: 'blob', method: 'HEAD' }, { contentLength: 100_000, times: 1 })
    assert.equal((await house.get(digest, { method: 'HEAD' })).headers['content-length'], '100000')
    assert.equal((await house.get(digest)).complete, false)
    assert.equal((await house.get(digest, { method: 'HEAD' })).headers['content-length'], '300000')
    assert.equal((await house.get(digest)).digest, digest)
    await house.settled()
    await house.upstream.stop()
    assert.equal((await house.get(digest, { method: 'HEAD' })).headers['content-length'], '300000')
  })
})

describe('what is stored', () => {
  it('is counted as soon as it is stored', async () => {
    await using house = await House.open()
    const digest = house.upstream.addBlob(repository, randomBlob(300_000))
    await house.get(digest)
    await house.settled()
    const { storage } = (await house.mirror.stats()) as unknown as { storage: { used: number; blobs: number } }
    assert.deepEqual([storage.used, storage.blobs], [300_000, 1])
  })
})
