import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { acceptManifests, dockerManifestList, ociManifest } from '../../src/oci/media-type.ts'
import type { CdnOptions } from './cdn.ts'
import { get, open } from './client.ts'
import { descriptorOf, image, index, randomBlob } from './image.ts'
import { tarLayer } from './layer.ts'
import { TestUpstream } from './upstream.ts'

const body = randomBlob(200_000)
const digest = digestOf(body)

test('serves an image and counts what it served', async () => {
  await using upstream = await TestUpstream.start()
  const added = image({ layers: [body] })
  const root = upstream.addImage('library/alpine', 'latest', index([added]))
  const base = `${upstream.url}/v2/library/alpine`
  const manifest = await get(`${base}/manifests/latest`)
  assert.equal(manifest.digest, root)
  assert.equal(manifest.headers['docker-content-digest'], root)
  assert.equal((await get(`${base}/manifests/${added.manifest.digest}`, { method: 'HEAD' })).status, 200)
  assert.equal((await get(`${base}/blobs/${digest}`)).digest, digest)
  const conditional = { 'if-none-match': `"x", "${root}"` }
  assert.equal((await get(`${base}/manifests/latest`, { headers: conditional })).status, 304)
  assert.equal((await get(`${base}/manifests/absent`)).status, 404)
  assert.equal((await get(`${base}/blobs/uploads/`, { method: 'POST' })).status, 405)
  assert.equal(upstream.count({ kind: 'manifest', status: [200, 304] }), 3)
  assert.equal(upstream.count({ kind: 'manifest', method: 'HEAD', repository: 'library/alpine' }), 1)
  assert.equal(upstream.bytes({ kind: 'blob' }), body.length)
  upstream.reset()
  assert.equal(upstream.count(), 0)
})

test('ranges', async () => {
  await using upstream = await TestUpstream.start()
  upstream.addBlob('a', body)
  const url = `${upstream.url}/v2/a/blobs/${digest}`
  const cases = [
    { range: 'bytes=0-0', status: 206, part: body.subarray(0, 1), contentRange: 'bytes 0-0/200000' },
    { range: 'bytes=1000-', status: 206, part: body.subarray(1000), contentRange: 'bytes 1000-199999/200000' },
    { range: 'bytes=-5', status: 206, part: body.subarray(-5), contentRange: 'bytes 199995-199999/200000' },
    { range: 'bytes=0-1,5-6', status: 200, part: body, contentRange: undefined },
  ]
  for (const { range, status, part, contentRange } of cases) {
    const answer = await get(url, { headers: { range } })
    assert.deepEqual(
      [answer.status, answer.digest, answer.headers['content-range']],
      [status, digestOf(part), contentRange],
    )
  }
  const beyond = await get(url, { headers: { range: 'bytes=200000-' } })
  assert.deepEqual([beyond.status, beyond.headers['content-range']], [416, 'bytes */200000'])
  const stale = await get(url, { headers: { range: 'bytes=5-', 'if-range': '"other"' } })
  assert.deepEqual([stale.status, stale.bytes], [200, body.length])
})

test('outages: refused, silent, and back on the same port', async () => {
  await using upstream = await TestUpstream.start({ cdn: true })
  const { url } = upstream
  await upstream.stop()
  const refused = await get(`${url}/v2/`)
  assert.deepEqual([refused.status, (refused.error as NodeJS.ErrnoException).code], [0, 'ECONNREFUSED'])
  await upstream.restart()
  assert.equal((await get(`${url}/v2/`)).status, 200)
  upstream.hang()
  const silent = open(`${url}/v2/`)
  await upstream.stop()
  assert.equal((await silent).status, 0)
  await upstream.restart()
  assert.equal((await get(`${url}/v2/`)).status, 200)
})

test('blobs at a second origin', async () => {
  await using upstream = await TestUpstream.start({ cdn: true })
  upstream.addBlob('a', body)
  const redirected = await get(`${upstream.url}/v2/a/blobs/${digest}`)
  const location = redirected.headers.location ?? ''
  assert.equal(redirected.status, 307)
  assert.notEqual(new URL(location).hostname, new URL(upstream.url).hostname)
  assert.equal((await get(location, { headers: { range: 'bytes=5-' } })).digest, digestOf(body.subarray(5)))
  assert.equal((await get(location, { headers: { authorization: 'Bearer x' } })).status, 400)
  upstream.expireSignatures()
  assert.equal((await get(location)).status, 403)
  assert.equal(upstream.count({ kind: 'blob', status: 307 }), 1)
  assert.equal(upstream.count({ kind: 'cdn', repository: 'a', reference: digest }), 3)
})

test('HEAD of a redirected blob', async () => {
  const expected: [CdnOptions, (number | undefined)[]][] = [
    [{}, [307, 200]],
    [{ head: 'refuse', status: 302 }, [302, 403]],
    [{ head: 'direct' }, [200, undefined]],
    [{ relative: true }, [307, 200]],
  ]
  for (const [cdn, statuses] of expected) {
    await using upstream = await TestUpstream.start({ cdn })
    upstream.addBlob('a', body)
    const url = `${upstream.url}/v2/a/blobs/${digest}`
    const first = await get(url, { method: 'HEAD' })
    const { location } = first.headers
    assert.equal(location?.startsWith('/') ?? false, cdn.relative ?? false)
    const second = location === undefined ? undefined : await get(new URL(location, url).href, { method: 'HEAD' })
    assert.deepEqual([first.status, second?.status], statuses)
  }
})

test('manifest GETs count against the limit, 304 too, HEADs do not', async () => {
  await using upstream = await TestUpstream.start({ rateLimit: { limit: 2, window: 21600 } })
  const root = upstream.addImage('a', 'v1', image())
  const url = `${upstream.url}/v2/a/manifests/v1`
  const seen = []
  for (const method of ['HEAD', 'GET', 'GET', 'HEAD', 'GET']) {
    const { status, headers } = await get(url, { method, headers: { 'if-none-match': `"${root}"` } })
    seen.push(`${status} ${headers['ratelimit-remaining']}`)
  }
  assert.deepEqual(seen, ['304 2;w=21600', '304 1;w=21600', '304 0;w=21600', '304 0;w=21600', '429 0;w=21600'])
  upstream.resetRateLimit()
  assert.equal((await get(url)).status, 200)
})

test('tags in pages', async () => {
  await using upstream = await TestUpstream.start({ tagPageSize: 2 })
  for (const tag of ['c', 'a', 'b']) upstream.addImage('x/y', tag, image())
  const first = await get(`${upstream.url}/v2/x/y/tags/list`)
  assert.deepEqual(first.json(), { name: 'x/y', tags: ['a', 'b'] })
  assert.equal(first.headers['link'], '</v2/x/y/tags/list?n=2&last=b>; rel="next"')
  const second = await get(`${upstream.url}/v2/x/y/tags/list?n=2&last=b`)
  assert.deepEqual([second.json(), second.headers['link']], [{ name: 'x/y', tags: ['c'] }, undefined])
})

test('referrers', async () => {
  await using upstream = await TestUpstream.start()
  const subject = image()
  upstream.addImage('a', 'v1', subject)
  for (const artifactType of ['application/x-one', 'application/x-two']) {
    upstream.addImage('a', undefined, image({ layers: [], artifactType, subject: descriptorOf(subject.manifest) }))
  }
  const url = `${upstream.url}/v2/a/referrers/${subject.manifest.digest}`
  const list = async (query: string) => (await get(url + query)).json<{ manifests: unknown[] }>().manifests.length
  assert.deepEqual([await list(''), await list('?artifactType=application/x-one')], [2, 1])
})

test('Docker Hub converts an index for who accepts none', async () => {
  await using upstream = await TestUpstream.dockerHub({ auth: { kind: 'bearer', users: { ann: 'secret' } } })
  const arm = image({ platform: { os: 'linux', architecture: 'arm64' } })
  const amd = image()
  const root = upstream.addImage('library/a', 'v1', index([arm, amd]))
  const authorization = await login(upstream, 'library/a')
  const url = `${upstream.url}/v2/library/a/manifests/v1`
  const ask = async (accept: string) => (await get(url, { headers: { authorization, accept } })).digest
  assert.equal(await ask(acceptManifests), root)
  assert.equal(await ask(ociManifest), amd.manifest.digest)
  assert.equal(upstream.count({ kind: 'manifest', authorization: 'login', user: 'ann' }), 2)
})

async function login(upstream: TestUpstream, repository: string): Promise<string> {
  const challenge = (await get(`${upstream.url}/v2/`)).headers['www-authenticate'] ?? ''
  const realm = /realm="([^"]*)"/.exec(challenge)?.[1]
  const query = `service=registry.docker.io&scope=repository:${repository}:pull`
  const headers = { authorization: `Basic ${Buffer.from('ann:secret').toString('base64')}` }
  return `Bearer ${(await get(`${realm}?${query}`, { headers })).json<{ token: string }>().token}`
}

test('quay.io: schema 1, no digest on HEAD, 400 for referrers', async () => {
  await using upstream = await TestUpstream.quay({ auth: { kind: 'basic', users: { ann: 'secret' } } })
  const root = upstream.addImage('a', 'v1', index([image({ flavour: 'docker' })], 'docker'))
  const headers = { authorization: `Basic ${Buffer.from('ann:secret').toString('base64')}` }
  const url = `${upstream.url}/v2/a/manifests/v1`
  const old = await get(url, { headers: { ...headers, accept: dockerManifestList } })
  assert.equal(old.headers['content-type'], 'application/vnd.docker.distribution.manifest.v1+prettyjws')
  assert.equal((await get(url, { headers, method: 'HEAD' })).headers['docker-content-digest'], undefined)
  assert.equal((await get(url, { headers })).digest, root)
  assert.equal((await get(`${upstream.url}/v2/a/referrers/${root}`, { headers })).status, 400)
})

test('registry.k8s.io sends everything to a registry with its own challenge', async () => {
  await using upstream = await TestUpstream.registryK8s()
  upstream.addImage('pause', '3.9', image())
  assert.equal((await get(`${upstream.url}/v2/`)).status, 200)
  const { status, headers } = await get(`${upstream.url}/v2/pause/manifests/3.9?ns=registry.k8s.io`)
  const expected = `${upstream.target?.url}/v2/k8s-artifacts-prod/images/pause/manifests/3.9`
  assert.deepEqual([status, headers.location], [307, expected])
  assert.equal((await get(expected)).status, 401)
  assert.equal(upstream.target?.count({ kind: 'manifest' }), 1)
})

test('wrong bytes and removed content', async () => {
  await using upstream = await TestUpstream.start()
  upstream.addBlob('a', randomBlob(10), digest)
  const root = upstream.addImage('a', 'v1', image())
  const status = async (path: string) => (await get(`${upstream.url}/v2/a/${path}`)).status
  assert.equal((await get(`${upstream.url}/v2/a/blobs/${digest}`)).bytes, 10)
  upstream.removeTag('a', 'v1')
  assert.deepEqual([await status('manifests/v1'), await status(`manifests/${root}`)], [404, 200])
  upstream.removeBlob('a', digest)
  assert.equal(await status(`blobs/${digest}`), 404)
  upstream.removeRepository('a')
  assert.equal(await status(`manifests/${root}`), 404)
})

test('a gigabyte costs no memory', async () => {
  await using upstream = await TestUpstream.start()
  const size = 1024 ** 3
  const large: Digest = upstream.addSynthetic('a', size, 7)
  const before = process.memoryUsage().rss
  const tail = await get(`${upstream.url}/v2/a/blobs/${large}`, { headers: { range: 'bytes=-65537' }, keep: 100_000 })
  const start = await get(`${upstream.url}/v2/a/blobs/${large}`, { readBytes: 100_003 })
  assert.equal(start.digest, digestOf(randomBlob(100_003, 7)))
  assert.equal(tail.bytes, 65537)
  assert.ok(process.memoryUsage().rss - before < 200 * 1024 ** 2)
})

test('a layer of files is a gzipped tar archive whose diff id is of the archive', () => {
  const layer = tarLayer({ 'etc/motd': 'hello\n' })
  const archive = gunzipSync(layer)
  assert.equal(archive.length % 512, 0)
  assert.equal(archive.subarray(512, 518).toString(), 'hello\n')
  const { config, layers } = image({ layers: [layer] })
  assert.deepEqual(JSON.parse(config.body.toString()).rootfs.diff_ids, [digestOf(archive)])
  assert.equal(layers[0]?.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip')
})
