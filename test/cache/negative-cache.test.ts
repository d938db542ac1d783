import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NegativeCache } from '../../src/cache/negative-cache.ts'
import { image } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream } from '../support/upstream.ts'
import { errorOf } from './answer.ts'

const requests = { kind: 'manifest' } as const
const second = 1000
const hex = 'ab'.repeat(32)
const absent = { status: 404, code: 'MANIFEST_UNKNOWN' }

describe('NegativeCache', () => {
  const cases = [
    { tag: 'latest', seconds: 5 },
    { tag: `sha256-${hex}`, seconds: 60 },
    { tag: `sha256-${hex}.sig`, seconds: 60 },
    { tag: `sha256-${hex}.att`, seconds: 60 },
    { tag: `sha256-${hex}.sbom`, seconds: 60 },
    { tag: `sha512-${hex}${hex}.sig`, seconds: 60 },
    { tag: `sha256-${hex.slice(1)}.sig`, seconds: 5 },
    { tag: `v1-sha256-${hex}`, seconds: 5 },
  ]
  for (const { tag, seconds } of cases) {
    it(`of ${tag} lasts ${seconds} s`, () => {
      const clock = { now: 0 }
      const absence = new NegativeCache(() => clock.now)
      assert.equal(absence.get('docker.io/library/alpine', tag), undefined)
      const told = { code: 'NAME_UNKNOWN', detail: 'why' } as const
      absence.add('docker.io/library/alpine', tag, told)
      clock.now = seconds * second - 1
      assert.deepEqual(absence.get('docker.io/library/alpine', tag), told)
      assert.equal(absence.get('docker.io/library/other', tag), undefined)
      clock.now += 1
      assert.equal(absence.get('docker.io/library/alpine', tag), undefined)
    })
  }

  it('is over when it is', () => {
    const absence = new NegativeCache(() => 0)
    absence.add('docker.io/library/alpine', 'latest', { code: 'MANIFEST_UNKNOWN', detail: undefined })
    absence.delete('docker.io/library/alpine', 'latest')
    assert.equal(absence.get('docker.io/library/alpine', 'latest'), undefined)
  })
})

describe('an absent tag', () => {
  for (const { tag, seconds } of [
    { tag: 'absent', seconds: 5 },
    { tag: `sha256-${hex}.sig`, seconds: 60 },
  ]) {
    it(`${tag} is asked for once in ${seconds} s`, async () => {
      await using stage = await Stage.start()
      stage.upstream.addImage('library/alpine', 'latest', image())
      const path = `/v2/library/alpine/manifests/${tag}`
      for (let pull = 0; pull < 10; pull += 1) assert.deepEqual(errorOf(await stage.get(path)), absent)
      assert.equal((await stage.get(path, { method: 'HEAD' })).status, 404)
      assert.equal(stage.upstream.count(requests), 1)

      stage.upstream.addImage('library/alpine', tag, image())
      stage.clock.now += seconds * second - 1
      assert.equal((await stage.get(path)).status, 404)
      stage.clock.now += 1
      assert.equal((await stage.get(path)).status, 200)
    })
  }

  it('is no outage while the upstream is away, for as long as that is known', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', image())
    const path = `/v2/library/alpine/manifests/sha256-${hex}.sig`
    await stage.get(path)
    await stage.upstream.stop()
    stage.clock.now += 59 * second
    assert.equal((await stage.get(path)).status, 404)
    stage.clock.now += second
    assert.equal((await stage.get(path)).status, 503)
  })

  it('of an absent or private repository is no failure either, and says which it is', async () => {
    const hidden = new Set(['library/hidden'])
    await using stage = await Stage.start({
      upstream: await TestUpstream.dockerHub({ auth: { kind: 'bearer', privateRepositories: hidden } }),
    })
    stage.upstream.addImage('library/hidden', 'latest', image())
    stage.upstream.addImage('library/alpine', 'latest', image())
    for (const repository of ['library/hidden', 'library/absent']) {
      for (const reference of ['latest', image().manifest.digest, `sha256-${hex}.sig`]) {
        const answer = await stage.get(`/v2/${repository}/manifests/${reference}`)
        assert.deepEqual(errorOf(answer), { status: 404, code: 'NAME_UNKNOWN' })
        assert.equal(answer.headers['www-authenticate'], undefined)
      }
      stage.upstream.reset()
      assert.equal(errorOf(await stage.get(`/v2/${repository}/manifests/latest`)).code, 'NAME_UNKNOWN')
      assert.equal(stage.upstream.count(), 0)
    }
    assert.deepEqual(errorOf(await stage.get('/v2/library/alpine/manifests/absent')), absent)
  })
})
