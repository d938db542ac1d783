import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { dockerManifest, ociManifest } from '../../src/oci/media-type.ts'
import { Gate } from '../support/gate.ts'
import { image, index } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream } from '../support/upstream.ts'
import { collapsed, errorOf, hit, miss, outcomeOf } from './answer.ts'

const requests = { kind: 'manifest' } as const
const added = image()
const { digest } = added.manifest
const alpine = `/v2/library/alpine/manifests/${digest}`

describe('a cold manifest by digest', () => {
  it('costs one GET, however many clients ask at once', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    const gate = new Gate()
    stage.upstream.fault(requests, { gate })
    const clients = Array.from({ length: 32 }, () => stage.get(alpine))
    await gate.arrived()
    gate.open()
    const outcomes = (await Promise.all(clients)).map((answer) => {
      assert.equal(answer.digest, digest)
      return outcomeOf(answer)
    })
    assert.deepEqual([stage.upstream.count(requests), stage.upstream.count({ method: 'GET' })], [1, 1])
    assert.equal(outcomes.filter((outcome) => outcome === miss).length, 1)
    assert.equal(outcomes.filter((outcome) => outcome === collapsed || outcome === hit).length, 31)
  })

  it('is fetched by the next where it failed', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    stage.upstream.fault(requests, { status: 400, times: 1 })
    assert.deepEqual(errorOf(await stage.get(alpine)), { status: 502, code: 'UPSTREAM_INVALID' })
    assert.equal(outcomeOf(await stage.get(alpine)), miss)
  })

  it('is asked for once through each repository that holds it, and never handed from one to the other', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    await stage.get(alpine)
    const other = `/v2/library/other/manifests/${digest}`
    assert.deepEqual(errorOf(await stage.get(other)), { status: 404, code: 'MANIFEST_UNKNOWN' })
    stage.upstream.addImage('library/other', 'latest', added)
    assert.equal(outcomeOf(await stage.get(other)), miss)
    assert.equal(outcomeOf(await stage.get(other)), hit)
    await stage.upstream.stop()
    assert.equal((await stage.get(`/v2/library/third/manifests/${digest}`)).status, 503)
  })

  it('is 404 where the repository does not hold it, and served once it does', async () => {
    await using stage = await Stage.start()
    assert.equal((await stage.get(alpine)).status, 404)
    stage.upstream.addImage('library/alpine', 'latest', added)
    assert.equal(outcomeOf(await stage.get(alpine)), miss)
  })
})

describe('a manifest that is not what its digest says', () => {
  it('is 502, never served, and not kept', async () => {
    await using stage = await Stage.start()
    const wrong = digestOf(Buffer.from('something else'))
    stage.upstream.addManifest('library/alpine', { mediaType: ociManifest, body: added.manifest.body, digest: wrong })
    const path = `/v2/library/alpine/manifests/${wrong}`
    for (let pull = 0; pull < 2; pull += 1) {
      assert.deepEqual(errorOf(await stage.get(path)), { status: 502, code: 'UPSTREAM_INVALID' })
    }
    assert.equal(stage.upstream.count(requests), 2)
  })

  it('by tag is 502 too, never served, and not kept', async () => {
    await using stage = await Stage.start()
    const wrong = digestOf(Buffer.from('something else'))
    const { body } = added.manifest
    stage.upstream.addManifest('library/alpine', { mediaType: ociManifest, body, digest: wrong }, 'latest')
    const answer = await stage.get('/v2/library/alpine/manifests/latest')
    assert.deepEqual(errorOf(answer), { status: 502, code: 'UPSTREAM_INVALID' })
    stage.upstream.addImage('library/alpine', 'latest', added)
    assert.equal((await stage.get('/v2/library/alpine/manifests/latest')).headers['docker-content-digest'], digest)
  })

  it('is refused beyond the limit on its size', async () => {
    await using stage = await Stage.start({ config: { limits: { manifestSize: '1KiB' } } })
    const body = Buffer.from(JSON.stringify({ schemaVersion: 2, padding: 'x'.repeat(1024) }))
    stage.upstream.addManifest('library/alpine', { mediaType: ociManifest, body }, 'latest')
    const answer = await stage.get('/v2/library/alpine/manifests/latest')
    assert.deepEqual(errorOf(answer), { status: 502, code: 'UPSTREAM_INVALID' })
  })
})

describe('what a manifest names', () => {
  it('belongs to its repository: children, config and layers need no other proof', async () => {
    await using stage = await Stage.start()
    const child = image({ platform: { os: 'linux', architecture: 'arm64' } })
    const both = index([added, child])
    stage.upstream.addImage('library/alpine', 'latest', both)
    await stage.get('/v2/library/alpine/manifests/latest')
    await stage.get(`/v2/library/alpine/manifests/${child.manifest.digest}`)
    stage.upstream.reset()
    const config = `/v2/library/alpine/blobs/${child.config.digest}`
    assert.equal((await stage.get(config, { method: 'HEAD' })).headers['content-length'], String(child.config.size))
    assert.equal(stage.upstream.count(), 0)
    assert.equal((await stage.get(config)).digest, child.config.digest)
    assert.deepEqual(
      stage.upstream.requests.map(({ kind, method }) => `${method} ${kind}`),
      ['GET blob'],
    )
  })

  it('is no proof for another repository', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    stage.upstream.addBlob('library/other', Buffer.from('other'))
    await stage.get('/v2/library/alpine/manifests/latest')
    const path = `/blobs/${added.config.digest}`
    assert.equal((await stage.get(`/v2/library/alpine${path}`)).status, 200)
    for (const method of ['GET', 'HEAD']) {
      assert.equal((await stage.get(`/v2/library/other${path}`, { method })).status, 404)
    }
    await stage.upstream.stop()
    for (const method of ['GET', 'HEAD']) {
      assert.equal((await stage.get(`/v2/library/other${path}`, { method })).status, 503)
    }
  })

  it('is no blob where it is a manifest', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    await stage.get('/v2/library/alpine/manifests/latest')
    for (const method of ['GET', 'HEAD']) {
      assert.equal((await stage.get(`/v2/library/alpine/blobs/${digest}`, { method })).status, 404)
    }
  })
})

describe('a manifest as the upstream sends it', () => {
  const { body } = image({ flavour: 'docker' }).manifest
  for (const { name, contentType, expected } of [
    { name: 'with parameters', contentType: `${dockerManifest}; charset=utf-8`, expected: dockerManifest },
    { name: 'as text', contentType: 'text/plain; charset=utf-8', expected: dockerManifest },
    { name: 'as JSON', contentType: 'application/json', expected: dockerManifest },
  ]) {
    it(`${name} is served under its own media type`, async () => {
      await using stage = await Stage.start()
      stage.upstream.addManifest('library/alpine', { mediaType: contentType, body }, 'latest')
      for (const method of ['GET', 'HEAD', 'GET']) {
        const answer = await stage.get('/v2/library/alpine/manifests/latest', { method })
        assert.equal(answer.headers['content-type'], expected)
        assert.equal(answer.headers['content-length'], String(body.length))
      }
    })
  }

  it('with a media type that no header can carry is served all the same', async () => {
    await using stage = await Stage.start()
    const odd = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: 'application/json\r\nx-evil: 1 \u2028' }))
    stage.upstream.addManifest('library/alpine', { mediaType: 'text/plain', body: odd }, 'latest')
    const answer = await stage.get('/v2/library/alpine/manifests/latest')
    assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'text/plain'])
    assert.equal(answer.headers['x-evil'], undefined)
  })

  it('compressed without being asked is undone', async () => {
    await using stage = await Stage.start({
      upstream: await TestUpstream.start({
        quirks: [{ match: requests, behaviour: { contentEncoding: 'gzip-always' } }],
      }),
    })
    stage.upstream.addImage('library/alpine', 'latest', added)
    const answer = await stage.get('/v2/library/alpine/manifests/latest')
    assert.deepEqual([answer.status, answer.digest, answer.headers['content-encoding']], [200, digest, undefined])
  })
})
