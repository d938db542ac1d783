import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { ociIndex } from '../../src/oci/media-type.ts'
import { hit, revalidated } from '../cache/answer.ts'
import type { Behaviour } from '../support/behaviour.ts'
import { image, randomBlob } from '../support/image.ts'
import { signIn } from '../support/presets.ts'
import type { RequestFilter } from '../support/request-log.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { until } from '../support/wait.ts'

// What upstreams answered, and what was believed of it: each of these has replaced, deleted or hidden good content once.

const ttl = 5 * 60_000
const path = '/v2/team/app/manifests/latest'
const html = { 'content-type': 'text/html; charset=utf-8' }

async function start(options: UpstreamOptions = {}): Promise<{ stage: Stage; good: Digest }> {
  const stage = await Stage.start({ upstream: await TestUpstream.start(options) })
  return { stage, good: stage.upstream.addImage('team/app', 'latest', image()) }
}

describe('a known tag is answered with the good manifest, marked stale, through', () => {
  const rows: [name: string, behaviour: Behaviour][] = [
    ['a sign-in page with 200', { status: 200, body: signIn, headers: html }],
    ['JSON that is no manifest', { status: 200, body: '{"hello":1}', headers: { 'content-type': 'application/json' } }],
    ["a load balancer's 404", { status: 404, body: signIn, headers: html }],
    ['a 403, as for a banned address', { status: 403 }],
  ]
  for (const [name, behaviour] of rows) {
    it(name, async () => {
      const { stage, good } = await start()
      await using _stage = stage
      await stage.get(path)
      stage.clock.now += ttl
      const fault = stage.upstream.fault({ kind: 'manifest' }, behaviour)
      const answer = await stage.get(path)
      assert.deepEqual([answer.status, answer.digest], [200, good])
      assert.match(String(answer.headers.warning), /^299 - "stale/)
      fault.remove()
      stage.clock.now += 60 * 60_000
      assert.equal((await stage.get(path)).headers['cache-status'], revalidated)
    })
  }

  it('a 404 to HEAD alone, and not marked: GET confirms it', async () => {
    const { stage, good } = await start()
    await using _stage = stage
    await stage.get(path)
    stage.clock.now += ttl
    const head: RequestFilter = { kind: 'manifest', method: 'HEAD' }
    stage.upstream.fault(head, { status: 404 })
    const answer = await stage.get(path)
    assert.deepEqual([answer.status, answer.digest, answer.headers.warning], [200, good, undefined])
  })
})

describe('a new tag is refused, and right the next time, after', () => {
  const rows: [name: string, behaviour: Behaviour][] = [
    ['an empty body', { truncateTo: 0 }],
    ['half a body, to the end of the connection', { closeDelimited: true, truncateTo: 100 }],
    ['a flipped byte', { flipByteAt: 60 }],
    ['a body that is longer than the manifest', { extraBytes: 3 }],
  ]
  for (const [name, behaviour] of rows) {
    it(name, async () => {
      const { stage, good } = await start()
      await using _stage = stage
      const fault = stage.upstream.fault({ kind: 'manifest', method: 'GET' }, behaviour)
      assert.equal((await stage.get(path)).status, 502)
      fault.remove()
      assert.equal((await stage.get(path)).digest, good)
    })
  }
})

describe('also', () => {
  it('a tag of a registry whose digests are sha512 has one digest', async () => {
    const { stage } = await start({ etag: 'none' })
    await using _stage = stage
    const { manifest } = image()
    const own = `sha512:${createHash('sha512').update(manifest.body).digest('hex')}` as Digest
    stage.upstream.addManifest('team/app', { ...manifest, digest: own }, 'latest')
    for (let round = 0; round < 2; round += 1) {
      assert.equal((await stage.get(path)).headers['docker-content-digest'], own)
      stage.clock.now += ttl
    }
  })

  it('a warning of another mirror upstream is passed on', async () => {
    const { stage } = await start()
    await using _stage = stage
    await stage.get(path)
    const warning = '299 - "stale: upstream unavailable"'
    stage.upstream.fault({ kind: 'manifest' }, { setHeaders: { warning } })
    stage.clock.now += ttl
    const answer = await stage.get(path)
    assert.deepEqual(
      [answer.headers.warning, answer.headers['cache-status']],
      [warning, 'entrepot; hit; ttl=0; detail=stale'],
    )
  })

  it("a layer that an index names, as in BuildKit's registry cache, is served", async () => {
    await using stage = await Stage.start()
    const body = randomBlob(50_000, 7)
    const digest = stage.upstream.addBlob('team/cache', body)
    const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: body.length }
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [layer] }))
    stage.upstream.addManifest('team/cache', { mediaType: ociIndex, body: index }, 'latest')
    assert.equal((await stage.get('/v2/team/cache/manifests/latest')).status, 200)
    assert.equal((await stage.get(`/v2/team/cache/blobs/${digest}`)).digest, digestOf(body))
  })

  it('a page as the answer to a HEAD of a blob opens no stored blob to its repository', async () => {
    await using stage = await Stage.start()
    const digest = stage.upstream.addBlob('team/owner', randomBlob(50_000, 7))
    assert.equal((await stage.get(`/v2/team/owner/blobs/${digest}`)).digest, digest)
    await until(async () => (await stage.mirror.stats()).fills === 0, 'the download to end')
    const length = { 'content-length': '50001', 'content-type': 'application/octet-stream' }
    const rows: Behaviour[] = [
      { status: 200, body: signIn, headers: html },
      { status: 200, body: signIn, headers: { ...length, 'content-length': `${signIn.length}` } },
      { status: 200, body: randomBlob(50_001), headers: length },
    ]
    for (const behaviour of rows) {
      const fault = stage.upstream.fault({ kind: 'blob', repository: 'team/other' }, behaviour)
      assert.equal((await stage.get(`/v2/team/other/blobs/${digest}`)).status, 502)
      fault.remove()
    }
    assert.equal((await stage.get(`/v2/team/other/blobs/${digest}`)).status, 404)
  })

  it('a malformed answer is a fault of that answer: the registry is asked on', async () => {
    const { stage } = await start()
    await using _stage = stage
    const body = randomBlob(1000)
    const digest = stage.upstream.addBlob('team/broken', body)
    assert.equal((await stage.get(path)).status, 200)
    stage.upstream.fault({ kind: 'blob' }, { setHeaders: { 'content-length': ['1000', '1000'] } })
    for (let round = 0; round < 4; round += 1) {
      assert.equal((await stage.get(`/v2/team/broken/blobs/${digest}`)).status, 502)
    }
    assert.equal((await stage.get(path)).headers['cache-status'], hit)
    stage.clock.now += ttl
    assert.equal((await stage.get(path)).headers['cache-status'], revalidated)
  })
})
