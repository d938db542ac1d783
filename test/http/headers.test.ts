import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cacheStatus, noneMatch } from '../../src/http/cache-status.ts'
import { ociManifest } from '../../src/oci/media-type.ts'
import type { Received } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { image, randomBlob } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'

const minute = 60_000
const ttl = 5 * minute
const added = image()
const { manifest, config } = added
const layer = added.layers[0] ?? config
const latest = '/v2/library/alpine/manifests/latest'
const byDigest = `/v2/library/alpine/manifests/${manifest.digest}`
const blob = `/v2/library/alpine/blobs/${layer.digest}`

async function start(): Promise<Stage> {
  const stage = await Stage.start()
  stage.upstream.addImage('library/alpine', 'latest', added)
  return stage
}

/** Those that say something of the content. */
function told({ headers }: Received): Record<string, unknown> {
  const { 'x-request-id': _id, date: _date, connection: _connection, 'keep-alive': _alive, ...rest } = headers
  return rest
}

const common = { 'docker-distribution-api-version': 'registry/2.0', 'x-content-type-options': 'nosniff' }
const immutable = 'max-age=31536000, immutable'

describe('headers', () => {
  it('of a manifest by tag', async () => {
    await using stage = await start()
    await stage.get(latest)
    stage.clock.now += 7000
    assert.deepEqual(told(await stage.get(latest)), {
      ...common,
      age: '7',
      'cache-control': 'no-cache',
      'cache-status': 'entrepot; hit',
      'content-length': String(manifest.size),
      'content-type': ociManifest,
      'docker-content-digest': manifest.digest,
      etag: `"${manifest.digest}"`,
    })
  })

  it('of a manifest by digest', async () => {
    await using stage = await start()
    await stage.get(byDigest)
    assert.deepEqual(told(await stage.get(byDigest)), {
      ...common,
      'cache-control': immutable,
      'cache-status': 'entrepot; hit',
      'content-length': String(manifest.size),
      'content-type': ociManifest,
      'docker-content-digest': manifest.digest,
      etag: `"${manifest.digest}"`,
    })
  })

  it('of a blob', async () => {
    await using stage = await start()
    await stage.get(blob)
    const expected = {
      ...common,
      'accept-ranges': 'bytes',
      'cache-control': immutable,
      'cache-status': 'entrepot; hit',
      'content-type': 'application/octet-stream',
      'docker-content-digest': layer.digest,
      etag: `"${layer.digest}"`,
    }
    const whole = await until(async () => {
      const received = await stage.get(blob)
      return received.headers['cache-status'] === 'entrepot; hit' ? received : undefined
    }, 'the blob to be stored')
    assert.deepEqual(told(whole), { ...expected, 'content-length': String(layer.size) })
    const part = await stage.get(blob, { headers: { range: 'bytes=1-3' } })
    const range = { 'content-length': '3', 'content-range': `bytes 1-3/${layer.size}` }
    assert.deepEqual(told(part), { ...expected, ...range })
  })

  it('of the ping and of an error', async () => {
    await using stage = await start()
    const json = { ...common, 'content-type': 'application/json' }
    assert.deepEqual(told(await stage.get('/v2/')), { ...json, 'content-length': '2' })
    const absent = await stage.get('/v2/library/alpine/manifests/absent')
    assert.deepEqual(told(absent), { ...json, 'content-length': String(absent.bytes) })
  })

  for (const [name, path] of Object.entries({ latest, byDigest, blob, ping: '/v2/', absent: '/v2/a/manifests/b' })) {
    it(`of HEAD are those of GET: ${name}`, async () => {
      await using stage = await start()
      const cold = await stage.get(path, { method: 'HEAD' })
      await stage.get(path)
      const whole = await until(async () => {
        const received = await stage.get(path)
        return (received.headers['cache-status'] ?? 'entrepot; hit') === 'entrepot; hit' ? received : undefined
      }, 'it to be stored')
      const head = await stage.get(path, { method: 'HEAD' })
      assert.deepEqual([head.status, head.bytes, told(head)], [whole.status, 0, told(whole)])
      const { 'cache-status': _cold, ...rest } = told(cold)
      const { 'cache-status': _whole, ...same } = told(whole)
      assert.deepEqual([cold.status, cold.bytes, rest], [whole.status, 0, same])
    })
  }

  it('name the namespace where it chose the upstream, as it was sent', async () => {
    await using stage = await start()
    for (const [ns, expected] of [
      ['docker.io', 'docker.io'],
      ['registry-1.docker.io', 'registry-1.docker.io'],
      ['', undefined],
    ]) {
      const { status, headers } = await stage.get(`${latest}?ns=${ns}`)
      assert.deepEqual([status, headers['oci-namespace']], [200, expected])
    }
    const other = await stage.get('/v2/docker.io/library/alpine/manifests/latest?ns=%0d%0aset-cookie:%20a')
    assert.deepEqual(
      [other.status, other.headers['oci-namespace'], other.headers['set-cookie']],
      [200, undefined, undefined],
    )
    assert.equal((await stage.get(`/v2/library/absent/manifests/x?ns=docker.io`)).headers['oci-namespace'], 'docker.io')
    assert.equal((await stage.get(latest)).headers['oci-namespace'], undefined)
  })

  it('never let a client be sent elsewhere, asked for a login or given a cookie', async () => {
    await using stage = await Stage.start()
    stage.upstream.fault(() => true, {
      setHeaders: {
        'set-cookie': 'a=b',
        'www-authenticate': 'Basic realm="evil"',
        location: 'https://evil.example/',
        'x-registry-supports-signatures': '1',
      },
    })
    stage.upstream.addImage('library/alpine', 'latest', added)
    for (const path of ['/v2/', latest, byDigest, blob, '/v2/library/absent/manifests/latest']) {
      const { headers } = await stage.get(path)
      for (const name of ['set-cookie', 'www-authenticate', 'location', 'x-registry-supports-signatures']) {
        assert.equal(headers[name], undefined, `${name} of ${path}`)
      }
    }
  })
})

describe('If-None-Match', () => {
  const etag = `"${manifest.digest}"`
  const other = `"sha256:${'0'.repeat(64)}"`
  const cases: readonly { readonly header: string; readonly is: boolean }[] = [
    { header: etag, is: true },
    { header: `W/${etag}`, is: true },
    { header: `${other}, ${etag}`, is: true },
    { header: `${other},W/${etag} , ${other}`, is: true },
    { header: '*', is: true },
    { header: ' * ', is: true },
    { header: other, is: false },
    { header: manifest.digest, is: false },
    { header: `${etag.slice(0, -1)}`, is: false },
    { header: 'W/*', is: false },
    { header: '', is: false },
  ]
  for (const { header, is } of cases) {
    it(`${JSON.stringify(header).slice(0, 40)}… ${is ? 'is' : 'is no'} match`, () => {
      assert.equal(noneMatch(header, etag), is)
    })
  }

  it('is 304 for who has the same, with its headers and without a body, and 200 for the others', async () => {
    await using stage = await start()
    for (const [path, digest] of [
      [latest, manifest.digest],
      [byDigest, manifest.digest],
      [blob, layer.digest],
    ] as const) {
      await stage.get(path)
      for (const method of ['GET', 'HEAD']) {
        const same = await stage.get(path, { method, headers: { 'if-none-match': `"${digest}"` } })
        assert.deepEqual([same.status, same.bytes, same.headers['etag']], [304, 0, `"${digest}"`])
        assert.equal(same.headers['docker-content-digest'], digest)
        assert.equal(same.headers['content-type'], undefined)
        const changed = await stage.get(path, { method, headers: { 'if-none-match': other } })
        assert.equal(changed.status, 200)
      }
    }
  })

  it('is no proof: what the repository does not hold is 404', async () => {
    await using stage = await start()
    await stage.get(blob)
    const headers = { 'if-none-match': '*' }
    assert.equal((await stage.get(`/v2/library/other/blobs/${layer.digest}`, { headers })).status, 404)
    assert.equal((await stage.get(`/v2/library/other/manifests/${manifest.digest}`, { headers })).status, 404)
  })

  it('costs no download of a blob that is not here', async () => {
    await using stage = await start()
    const headers = { 'if-none-match': `"${layer.digest}"` }
    assert.equal((await stage.get(blob, { headers })).status, 304)
    assert.equal(stage.upstream.count({ kind: 'blob', method: 'GET' }), 0)
  })
})

describe('Cache-Status', () => {
  it('has words for every outcome', () => {
    const at = { passed: false, ttl: undefined }
    assert.equal(cacheStatus('hit', at), 'entrepot; hit')
    assert.equal(cacheStatus('miss', at), 'entrepot; fwd=uri-miss; stored')
    assert.equal(cacheStatus('collapsed', at), 'entrepot; fwd=uri-miss; collapsed')
    assert.equal(cacheStatus('revalidated', at), 'entrepot; fwd=stale; fwd-status=304')
    assert.equal(cacheStatus('stale', { passed: false, ttl: -412 }), 'entrepot; hit; ttl=-412; detail=stale')
    assert.equal(cacheStatus('miss', { passed: true, ttl: undefined }), 'entrepot; fwd=bypass')
  })

  it('of a manifest: miss, hit, revalidated, stale', async () => {
    await using stage = await start()
    const statuses = []
    for (const wait of [0, 0, ttl, ttl + 999]) {
      stage.clock.now += wait
      if (wait > ttl) await stage.upstream.stop()
      statuses.push((await stage.get(latest)).headers['cache-status'])
    }
    assert.deepEqual(statuses, [
      'entrepot; fwd=uri-miss; stored',
      'entrepot; hit',
      'entrepot; fwd=stale; fwd-status=304',
      'entrepot; hit; ttl=-1; detail=stale',
    ])
  })

  it('of a blob: miss, collapsed, hit', async () => {
    await using stage = await start()
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(200_000, 5))
    const path = `/v2/library/alpine/blobs/${digest}`
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob', method: 'GET' }, { gate, gateAt: 1 })
    const first = stage.get(path)
    await gate.arrived()
    const second = stage.get(path)
    await until(() => stage.upstream.count({ method: 'HEAD' }) > 0 || gate.arrivals > 0, 'the second one')
    await until(async () => {
      const fills = (await (await fetch(`${stage.mirror.adminUrl}/api/fills`)).json()) as { followers: number }[]
      return fills[0]?.followers === 2
    }, 'the second one to join')
    gate.open()
    const statuses = (await Promise.all([first, second])).map(({ headers }) => headers['cache-status'])
    assert.deepEqual(statuses, ['entrepot; fwd=uri-miss; stored', 'entrepot; fwd=uri-miss; collapsed'])
    await until(async () => (await stage.get(path)).headers['cache-status'] === 'entrepot; hit', 'a hit')
  })

  it('of what is passed through, and kept nowhere: bypass', async () => {
    await using stage = await start()
    const { headers } = await stage.get(`/v2/library/alpine/blobs/${config.digest}`, { method: 'HEAD' })
    assert.equal(headers['cache-status'], 'entrepot; fwd=bypass')
  })

  it('is not said of errors', async () => {
    await using stage = await start()
    assert.equal((await stage.get('/v2/library/alpine/manifests/absent')).headers['cache-status'], undefined)
  })
})
