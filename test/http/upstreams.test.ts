import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { GetOptions } from '../support/client.ts'
import { image } from '../support/image.ts'
import { startMirror } from '../support/mirror.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream } from '../support/upstream.ts'

const added = image()
const other = image({ config: { other: true } })

interface Way {
  readonly client: string
  /** Of Docker Hub's library/alpine, up to `/manifests/…` or `/blobs/…`. */
  readonly path: string
  readonly query?: string
  readonly ping?: string
}

const ways: readonly Way[] = [
  { client: 'Docker', path: '/v2/library/alpine', ping: '/v2/' },
  { client: 'Docker, a mirror with a path', path: '/docker.io/v2/library/alpine', ping: '/docker.io/v2/' },
  { client: 'Docker, containerd store', path: '/v2/library/alpine', query: '?ns=docker.io' },
  { client: 'containerd, override_path', path: '/v2/docker.io/library/alpine', query: '?ns=docker.io' },
  { client: 'BuildKit, a mirror with a path', path: '/v2/docker.io/library/alpine', query: '?ns=docker.io' },
  { client: 'podman, CRI-O', path: '/v2/docker.io/library/alpine', ping: '/v2/' },
  { client: 'crane, kaniko', path: '/v2/index.docker.io/alpine', ping: '/v2/' },
  { client: 'regclient', path: '/v2/library/alpine', query: '?ns=registry-1.docker.io', ping: '/v2' },
  { client: 'a person', path: '/v2/alpine', ping: '/v2' },
]

describe('every way to one image', () => {
  it('leads to one repository, which is fetched once', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    for (const { client, path, query = '', ping } of ways) {
      if (ping) {
        const answer = await stage.get(ping)
        assert.deepEqual([answer.status, answer.text()], [200, '{}'], client)
      }
      const head = await stage.get(`${path}/manifests/latest${query}`, { method: 'HEAD' })
      assert.equal(head.headers['docker-content-digest'], added.manifest.digest, client)
      const byDigest = await stage.get(`${path}/manifests/${added.manifest.digest}${query}`)
      assert.equal(byDigest.digest, added.manifest.digest, client)
      for (const { digest } of [added.config, ...added.layers]) {
        assert.equal((await stage.get(`${path}/blobs/${digest}${query}`)).digest, digest, client)
      }
    }
    for (const method of ['HEAD', 'GET']) assert.equal(stage.upstream.count({ kind: 'manifest', method }), 1)
    assert.equal(stage.upstream.count({ kind: 'blob', method: 'GET' }), 1 + added.layers.length)
  })

  it('stands under a base path', async () => {
    await using stage = await Stage.start({ config: { basePath: '/some/mirror' } })
    stage.upstream.addImage('library/alpine', 'latest', added)
    for (const { client, path, query = '' } of ways) {
      const answer = await stage.get(`/some/mirror${path}/manifests/latest${query}`)
      assert.equal(answer.digest, added.manifest.digest, client)
      assert.equal((await stage.get(`${path}/manifests/latest${query}`)).status, 404, client)
    }
    assert.equal((await stage.get('/some/mirror/v2/')).status, 200)
    assert.equal((await stage.get('/v2/')).status, 404)
  })
})

describe('upstreams', () => {
  it('are told apart, by path and by namespace', async () => {
    await using one = await TestUpstream.start()
    await using two = await TestUpstream.start()
    one.addImage('a/b', 'latest', added)
    two.addImage('a/b', 'latest', other)
    const local = new URL(two.url).host
    await using mirror = await startMirror({
      upstreams: { 'docker.io': one.url, [local]: two.url, 'ghcr.io': two.url },
    })
    const digestOf = async (path: string) => (await fetch(`${mirror.url}${path}`)).headers.get('docker-content-digest')
    for (const path of ['/v2/a/b/manifests/latest', '/v2/docker.io/a/b/manifests/latest']) {
      assert.equal(await digestOf(path), added.manifest.digest)
    }
    for (const name of [local, 'ghcr.io', 'GHCR.io']) {
      assert.equal(await digestOf(`/v2/${name}/a/b/manifests/latest`), other.manifest.digest)
      assert.equal(await digestOf(`/${name}/v2/a/b/manifests/latest`), other.manifest.digest)
      assert.equal(await digestOf(`/v2/a/b/manifests/latest?ns=${name}`), other.manifest.digest)
    }
    assert.equal(await digestOf('/v2/ghcr.io/a/b/manifests/latest?ns=docker.io'), null)
  })

  it('that are not configured are never contacted', async () => {
    await using evil = await TestUpstream.start()
    await using stage = await Stage.start()
    evil.addImage('a/b', 'latest', added)
    const host = new URL(evil.url).host
    const digest = added.layers[0]?.digest ?? ''
    const asks: readonly (readonly [string, GetOptions?])[] = [
      [`/v2/${host}/a/b/manifests/latest`],
      [`/v2/${host}/a/b/manifests/${added.manifest.digest}`],
      [`/v2/${host}/a/b/blobs/${digest}`],
      [`/v2/${host}/a/b/blobs/${digest}`, { method: 'HEAD' }],
      [`/v2/${host}/a/b/blobs/${digest}`, { headers: { range: 'bytes=0-1' } }],
      [`/v2/${host}/a/b/tags/list`],
      [`/v2/${host}/a/b/manifests/latest`, { method: 'PUT' }],
      [`/${host}/v2/a/b/manifests/latest`],
      [`/v2/a/b/manifests/latest?ns=${host}`],
      [`/v2/a/b/manifests/latest?ns=${encodeURIComponent(evil.url)}`],
      [`/v2/${encodeURIComponent(host)}/a/b/manifests/latest`],
    ]
    for (const [path, options] of asks) {
      const answer = await stage.get(path, options)
      assert.equal(answer.status, 403, path)
      if (options?.method === 'HEAD') continue
      assert.equal(answer.json<{ errors: { code: string }[] }>().errors[0]?.code, 'DENIED', path)
    }
    const absolute = await stage.get('/', { path: `${evil.url}/v2/a/b/manifests/latest`, headers: { host } })
    assert.equal(absolute.status, 404)
    assert.equal(evil.count(), 0)
    assert.equal(stage.upstream.count({ repository: 'a/b' }), 1)
  })
})

describe('what this mirror does not do', () => {
  it('is 404 where it is a read, so that clients go on without it', async () => {
    await using stage = await Stage.start()
    const digest = added.manifest.digest
    for (const [path, code] of [
      ['/v2/library/alpine/tags/list', 'NAME_UNKNOWN'],
      ['/v2/library/alpine/tags/list?n=10&last=a', 'NAME_UNKNOWN'],
      [`/v2/library/alpine/referrers/${digest}`, 'MANIFEST_UNKNOWN'],
      [`/v2/library/alpine/referrers/${digest}?artifactType=a/b`, 'MANIFEST_UNKNOWN'],
      ['/v2/_catalog', 'NAME_UNKNOWN'],
      ['/v1/_ping', 'NAME_UNKNOWN'],
      ['/', 'NAME_UNKNOWN'],
      ['/favicon.ico', 'NAME_UNKNOWN'],
    ] as const) {
      const answer = await stage.get(path)
      assert.deepEqual(
        [answer.status, answer.json<{ errors: { code: string }[] }>().errors[0]?.code],
        [404, code],
        path,
      )
    }
    assert.equal(stage.upstream.count(), 0)
  })

  it('is 405 where it is a write, whatever is sent with it', async () => {
    await using stage = await Stage.start()
    const digest = added.manifest.digest
    for (const [method, path] of [
      ['POST', '/v2/library/alpine/blobs/uploads/'],
      ['POST', `/v2/library/alpine/blobs/uploads/?mount=${digest}&from=library/other`],
      ['PATCH', '/v2/library/alpine/blobs/uploads/1234'],
      ['PUT', `/v2/library/alpine/blobs/uploads/1234?digest=${digest}`],
      ['PUT', '/v2/library/alpine/manifests/latest'],
      ['DELETE', `/v2/library/alpine/manifests/${digest}`],
      ['DELETE', `/v2/library/alpine/blobs/${digest}`],
      ['OPTIONS', '/v2/'],
      ['TRACE', '/v2/'],
      ['POST', '/'],
    ] as const) {
      const body = ['POST', 'PATCH', 'PUT'].includes(method) ? Buffer.alloc(100_000, 'x') : ''
      const answer = await stage.get(path, { method, body })
      assert.deepEqual([answer.status, answer.headers['allow']], [405, 'GET, HEAD'], `${method} ${path}`)
      assert.equal(answer.json<{ errors: { code: string }[] }>().errors[0]?.code, 'UNSUPPORTED')
    }
    assert.equal(stage.upstream.count(), 0)
  })
})
