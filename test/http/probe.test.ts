import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { claimsOf } from '../../src/oci/manifest.ts'
import { get } from '../support/client.ts'
import { startMirror } from '../support/mirror.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'

describe('the probe image', () => {
  it('is pulled from the mirror alone, through every upstream, and tells who pulled it', async () => {
    await using upstream = await TestUpstream.start()
    await using mirror = await startMirror({ upstreams: { 'docker.io': upstream.url, 'ghcr.io': upstream.url } })
    const line = await until(() => mirror.log.find(({ msg }) => msg === 'listening'), 'the line of the start')
    const tag = String(line['probe']).split(':')[1]
    for (const name of ['entrepot/probe', 'ghcr.io/entrepot/probe']) {
      const headers = { 'user-agent': `probing/${name}` }
      const index = await get(`${mirror.url}/v2/${name}/manifests/${tag}`, { headers })
      assert.equal(index.status, 200)
      const child = claimsOf(String(index.headers['content-type']), index.body ?? Buffer.alloc(0)).manifests[0]
      const manifest = await get(`${mirror.url}/v2/${name}/manifests/${child?.digest}`, { headers })
      assert.equal(manifest.digest, child?.digest)
      for (const { digest, size } of claimsOf(child?.mediaType ?? '', manifest.body ?? Buffer.alloc(0)).blobs) {
        const head = await get(`${mirror.url}/v2/${name}/blobs/${digest}`, { headers, method: 'HEAD' })
        assert.equal(head.headers['content-length'], String(size))
        assert.equal((await get(`${mirror.url}/v2/${name}/blobs/${digest}`, { headers })).digest, digest)
      }
      const told = await until(
        () =>
          mirror.log.find(({ userAgent, msg, upstream: from }) => {
            return userAgent === headers['user-agent'] && /probe pulled/.test(String(msg)) && from !== undefined
          }),
        'a line that tells who pulled it',
      )
      assert.equal(told['client'], '127.0.0.1')
    }
    assert.deepEqual(upstream.requests, [])
  })

  it('has no other tag, and no other content, and the upstream is not asked for any', async () => {
    await using upstream = await TestUpstream.start()
    await using mirror = await startMirror({ upstreams: { 'docker.io': upstream.url } })
    const absent = `sha256:${'0'.repeat(64)}`
    for (const path of ['manifests/latest', `manifests/${absent}`, `blobs/${absent}`]) {
      assert.equal((await get(`${mirror.url}/v2/entrepot/probe/${path}`)).status, 404)
      assert.equal((await get(`${mirror.url}/v2/entrepot/probe/${path}`, { method: 'HEAD' })).status, 404)
    }
    assert.deepEqual(upstream.requests, [])
  })
})
