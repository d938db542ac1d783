import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { Behaviour } from '../support/behaviour.ts'
import { get, type Received } from '../support/client.ts'
import { startMirror } from '../support/mirror.ts'
import { nexus, nginx, portal, signIn } from '../support/presets.ts'
import type { RecordedRequest } from '../support/request-log.ts'
import { signedManifest } from '../support/schema1.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { until } from '../support/wait.ts'
import { errorOf, hit, outcomeOf, revalidated } from './answer.ts'
import { known, layer, lies, stock, unknown } from './support/lies.ts'

const ttl = 5 * 60_000
const html = { 'content-type': 'text/html' }
async function stocked(): Promise<Stage> {
  const stage = await Stage.start()
  stock(stage.upstream)
  await stage.get('/v2/team/app/manifests/known')
  for (const { digest } of [known.config, ...known.layers]) await stage.get(`/v2/team/app/blobs/${digest}`)
  await settled(stage)
  return stage
}

async function settled(stage: Stage): Promise<void> {
  await until(async () => (await stage.mirror.stats()).fills === 0, 'the downloads to end')
}

function files(stage: Stage): Promise<string[]> {
  return readdir(join(stage.path, 'blobs', 'sha256'))
}

function assertGood(answer: Received, digest: string, status: string): void {
  assert.deepEqual([answer.status, answer.digest, outcomeOf(answer)], [200, digest, status])
}

/** A request, and an answer of it that carries no content. */
async function assertRefused(stage: Stage, path: string, status: number, head = status): Promise<void> {
  for (const method of ['GET', 'HEAD']) {
    const answer = await stage.get(path, { method })
    assert.deepEqual([method, path, answer.status], [method, path, method === 'HEAD' ? head : status])
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    assert.doesNotMatch(String(answer.headers['content-type']), /html/)
  }
}

describe('an upstream that answers with', () => {
  for (const { name, behaviour, manifest, head, blob, range = blob, says } of lies) {
    it(`${name}: what is known stays, and nothing is stored`, async () => {
      await using stage = await stocked()
      const { upstream, clock } = stage
      const before = await files(stage)
      const tag = '/v2/team/app/manifests/known'
      upstream.fault({ kind: 'manifest' }, behaviour)
      upstream.fault({ kind: 'blob' }, behaviour)

      // Cached: nobody is asked.
      assertGood(await stage.get(tag), known.manifest.digest, hit)
      assertGood(await stage.get(`/v2/team/app/manifests/${known.manifest.digest}`), known.manifest.digest, hit)
      assertGood(await stage.get(`/v2/team/app/blobs/${layer.digest}`), layer.digest, hit)

      // Past its time.
      clock.now += ttl + 1000
      const stale = 'entrepot; hit; ttl=-1; detail=stale'
      for (const method of ['GET', 'HEAD', 'GET']) {
        const answer = await stage.get(tag, { method })
        const told = answer.headers['docker-content-digest']
        assert.deepEqual([answer.status, told], [200, known.manifest.digest])
        // A lie about the body, and not about HEAD, is none where HEAD confirms.
        if (outcomeOf(answer) === stale) assert.match(String(answer.headers['warning']), /^299 - "stale/)
        else assert.match(outcomeOf(answer), /^entrepot; (hit|fwd=stale; fwd-status=304)/)
      }

      // Cold.
      await assertRefused(stage, '/v2/team/app/manifests/new', manifest, head)
      await assertRefused(stage, `/v2/team/app/manifests/${unknown.manifest.digest}`, manifest)
      if (blob !== undefined) {
        const path = `/v2/team/app/blobs/${unknown.config.digest}`
        assert.equal((await stage.get(path)).status, blob)
        assert.equal((await stage.get(path, { headers: { range: 'bytes=1-9' } })).status, range)
      }
      assert.deepEqual(await files(stage), before)

      // Well again.
      await settled(stage)
      upstream.clearFaults()
      clock.now += 2 * 60 * 60_000
      assertGood(
        await stage.get('/v2/team/app/manifests/new'),
        unknown.manifest.digest,
        'entrepot; fwd=uri-miss; stored',
      )
      assertGood(await stage.get(tag), known.manifest.digest, revalidated)
      assertGood(
        await stage.get(`/v2/team/app/blobs/${unknown.config.digest}`),
        unknown.config.digest,
        'entrepot; fwd=uri-miss; stored',
      )

      await stage.stop()
      const told = stage.log.filter(({ msg }) => msg === 'upstream failed')
      const errors = told.map(({ error }) => error as { type?: string; message: string })
      assert.ok(
        errors.some(({ message }) => says.test(message)),
        JSON.stringify(errors),
      )
      for (const { message } of errors) assert.match(message, /^docker\.io: /)
      const kinds = told.map(({ kind }) => kind)
      assert.equal(new Set(kinds).size, kinds.length, 'one line a kind')
    })
  }
})

describe('a blob whose size a manifest says', () => {
  const type = { 'content-type': 'application/vnd.oci.image.layer.v1.tar' }
  const rows: [name: string, behaviour: Behaviour, status: number][] = [
    ['in HTML of another length', { status: 200, body: signIn, headers: html }, 502],
    ['in HTML without a length', { status: 200, body: signIn, headers: html, chunked: true }, 502],
    ['in another length', { status: 200, body: 'x', headers: type }, 502],
    ['labelled gzip, but raw', { setHeaders: { 'content-encoding': 'gzip' } }, 200],
    ['labelled aws-chunked, but raw', { setHeaders: { 'content-encoding': 'aws-chunked' } }, 200],
    ['compressed', { contentEncoding: 'gzip-always' }, 502],
    ['as HTML, but itself', { setHeaders: html }, 200],
  ]
  for (const [name, behaviour, status] of rows) {
    it(`comes ${name}: ${status}`, async () => {
      await using stage = await stocked()
      await stage.get('/v2/team/app/manifests/new')
      stage.upstream.fault({ kind: 'blob' }, behaviour)
      const answer = await stage.get(`/v2/team/app/blobs/${unknown.config.digest}`)
      assert.deepEqual([answer.status, answer.complete], [status, true])
      if (status === 200) assert.equal(answer.digest, unknown.config.digest)
      assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    })
  }
})

describe('a registry', () => {
  const path = '/v2/team/app/manifests/latest'
  const stale = /detail=stale/

  async function open(options: UpstreamOptions = {}): Promise<Stage> {
    const stage = await Stage.start({ upstream: await TestUpstream.start(options) })
    stage.upstream.addImage('team/app', 'latest', known)
    return stage
  }

  it('that knows no HEAD of manifests (Nexus) keeps its tags, and loses what it deletes', async () => {
    await using stage = await open(nexus)
    for (let round = 0; round < 3; round += 1) {
      const answer = await stage.get(path)
      assert.deepEqual([answer.digest, stale.test(outcomeOf(answer))], [known.manifest.digest, false])
      stage.clock.now += ttl
    }
    stage.upstream.removeTag('team/app', 'latest')
    assert.deepEqual(errorOf(await stage.get(path)), { status: 404, code: 'MANIFEST_UNKNOWN' })
    await stage.upstream.stop()
    stage.clock.now += 60_000
    assert.equal((await stage.get(path)).status, 503)
  })

  it('behind nginx, whose challenge is a page, is asked with a token; its 404 pages delete nothing', async () => {
    await using stage = await open(nginx)
    assertGood(await stage.get(path), known.manifest.digest, 'entrepot; fwd=uri-miss; stored')
    stage.clock.now += ttl
    assertGood(await stage.get(path), known.manifest.digest, revalidated)
    stage.upstream.removeTag('team/app', 'latest')
    stage.clock.now += ttl
    assert.match(outcomeOf(await stage.get(path)), stale)
    assert.equal((await stage.get('/v2/team/app/manifests/never')).status, 503)
  })

  it('behind a sign-in page is away', async () => {
    await using stage = await open(portal)
    for (const reference of ['latest', known.manifest.digest]) {
      assert.equal((await stage.get(`/v2/team/app/manifests/${reference}`)).status, 503)
    }
    assert.equal((await stage.get(`/v2/team/app/blobs/${layer.digest}`)).status, 502)
    assert.deepEqual(await readdir(join(stage.path, 'blobs', 'sha256')).catch(() => []), [])
  })

  it('whose 404 says nothing is believed where its /v2/ answers as a registry, and asked for that once', async () => {
    await using stage = await open()
    await stage.get(path)
    stage.upstream.fault({ kind: 'manifest' }, { status: 404, body: '', headers: {} })
    const ping = stage.upstream.fault({ kind: 'ping' }, { status: 502 })
    stage.clock.now += ttl
    assert.match(outcomeOf(await stage.get(path)), stale)
    assert.equal((await stage.get('/v2/team/app/manifests/never')).status, 503)
    ping.remove()
    stage.clock.now += 10_001
    stage.upstream.reset()
    const pulls = ['latest', 'never', 'other'].map((tag) => stage.get(`/v2/team/app/manifests/${tag}`))
    assert.deepEqual(
      (await Promise.all(pulls)).map(({ status }) => status),
      [404, 404, 404],
    )
    assert.equal(stage.upstream.count({ kind: 'ping' }), 1)
  })

  for (const algorithm of ['sha384', 'sha512'] as const) {
    it(`whose digests are ${algorithm} has one digest for a tag, and is asked for it once`, async () => {
      await using stage = await Stage.start({ upstream: await TestUpstream.start({ etag: 'none' }) })
      const { mediaType, body } = known.manifest
      const digest = digestOf(body, algorithm)
      stage.upstream.addManifest('team/app', { mediaType, body, digest }, 'latest')
      for (const outcome of ['entrepot; fwd=uri-miss; stored', hit, revalidated, revalidated]) {
        const answer = await stage.get(path)
        assert.deepEqual([answer.headers['docker-content-digest'], outcomeOf(answer)], [digest, outcome])
        assertGood(await stage.get(`/v2/team/app/manifests/${digest}`), known.manifest.digest, hit)
        if (outcome !== 'entrepot; fwd=uri-miss; stored') stage.clock.now += ttl
      }
      assert.equal(stage.upstream.count({ kind: 'manifest', method: 'GET' }), 1)
    })
  }

  it('of signed schema 1 is passed on by tag, with its own digest, and not by digest', async () => {
    await using stage = await Stage.start()
    const signed = signedManifest('team/app', [layer.digest])
    stage.upstream.addManifest('team/app', signed, 'latest')
    for (let round = 0; round < 2; round += 1) {
      const answer = await stage.get(path)
      const { 'docker-content-digest': digest, 'content-type': type, warning } = answer.headers
      assert.deepEqual(
        [answer.status, answer.body, digest, type, warning],
        [200, signed.body, signed.digest, signed.mediaType, undefined],
      )
      assert.equal(outcomeOf(answer), 'entrepot; fwd=bypass')
      stage.clock.now += ttl
    }
    const refusal = await stage.get(`/v2/team/app/manifests/${signed.digest}`)
    assert.equal(refusal.status, 502)
    assert.match(refusal.text(), /signed schema 1/)
    assert.deepEqual(await readdir(join(stage.path, 'blobs', 'sha256')).catch(() => []), [])
  })

  it('that answers nothing but 304 has to show its digest once a day', async () => {
    await using stage = await open()
    await stage.get(path)
    stage.clock.now += ttl
    assertGood(await stage.get(path), known.manifest.digest, revalidated)
    // Its ETag is that of something else now, and stays the same.
    stage.upstream.addImage('team/app', 'latest', unknown)
    const etag = `"${known.manifest.digest}"`
    const lie = ({ kind, headers }: RecordedRequest) => kind === 'manifest' && headers['if-none-match'] === etag
    stage.upstream.fault(lie, { status: 304, body: '', headers: {} })
    stage.clock.now += 24 * 60 * 60_000 - 1
    assertGood(await stage.get(path), known.manifest.digest, revalidated)
    stage.clock.now += ttl
    assertGood(await stage.get(path), unknown.manifest.digest, 'entrepot; fwd=uri-miss; stored')
  })
})

describe('another mirror upstream', () => {
  it('that answers stale renews nothing, and its warning is passed on', async () => {
    const near = { now: Date.UTC(2026, 0, 1) }
    await using stage = await Stage.start()
    stage.upstream.addImage('library/app', 'latest', known)
    await using mirror = await startMirror({ upstreams: { 'docker.io': stage.mirror.url }, clock: near })
    const path = `${mirror.url}/v2/library/app/manifests/latest`
    assert.equal((await get(path)).headers.warning, undefined)
    await stage.upstream.stop()
    stage.clock.now += ttl + 60_000
    near.now = stage.clock.now
    const { warning: farther } = (await stage.get('/v2/library/app/manifests/latest')).headers
    assert.match(String(farther), /^299 - "stale: upstream unavailable since/)
    for (let round = 0; round < 2; round += 1) {
      const answer = await get(path)
      assert.deepEqual(
        [answer.status, answer.headers.warning, answer.headers['age']],
        [200, farther, String(ttl / 1000 + 60)],
      )
      assert.match(outcomeOf(answer), /ttl=-60; detail=stale/)
    }
    await stage.upstream.restart()
    stage.clock.now += 60 * 60_000
    near.now = stage.clock.now
    assert.equal((await stage.get('/v2/library/app/manifests/latest')).headers.warning, undefined)
    const fresh = await get(path)
    assert.deepEqual([outcomeOf(fresh), fresh.headers.warning], [revalidated, undefined])
  })

  it('whose answer has an age shortens the time of a tag, by half at most', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('team/app', 'latest', known)
    for (const [age, expected] of [
      ['60', '60'],
      ['86400', '150'],
    ] as const) {
      stage.upstream.fault({ kind: 'manifest' }, { setHeaders: { age } })
      stage.clock.now += 2 * ttl
      assert.equal((await stage.get('/v2/team/app/manifests/latest')).headers['age'], expected)
    }
  })

  it('that is behind does not turn a tag back', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('team/app', 'latest', known)
    await stage.get('/v2/team/app/manifests/latest')
    stage.upstream.addImage('team/app', 'latest', unknown)
    const warning = '299 - "stale: upstream unavailable"'
    stage.clock.now += ttl
    const fault = stage.upstream.fault({ kind: 'manifest' }, { setHeaders: { warning, age: '86400' } })
    const behind = await stage.get('/v2/team/app/manifests/latest')
    assert.deepEqual([behind.digest, behind.headers.warning], [known.manifest.digest, warning])
    fault.remove()
    assert.equal((await stage.get('/v2/team/app/manifests/latest')).digest, unknown.manifest.digest)
  })
})
