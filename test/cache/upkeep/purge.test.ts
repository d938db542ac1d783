import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { open } from '../../support/client.ts'
import { image, index, randomBlob, type TestImage } from '../../support/image.ts'
import { until } from '../../support/wait.ts'
import { first, Larder, second } from '../support/larder.ts'

const base = randomBlob(40_000, 1)
const one = image({ layers: [base, randomBlob(10_000, 2)], config: { n: 1 } })
const two = image({ layers: [base, randomBlob(20_000, 3)], config: { n: 2 } })
const app = `${first}/team/app`

function sizeOf({ manifest, config, layers }: TestImage): number {
  return [manifest, config, ...layers].reduce((sum, { size }) => sum + size, 0)
}

/** Bytes and blobs that the mirror says it keeps. */
async function kept(larder: Larder): Promise<unknown> {
  const { used, blobs } = (await larder.mirror.stats())['storage'] as unknown as { used: number; blobs: number }
  return { bytes: used, blobs }
}

suite('A purge of an image', () => {
  test('removes all of it, and the next pull fetches all of it', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    const { status, json } = await larder.call(`/images/${app}:1`, 'DELETE')
    assert.deepEqual([status, json], [200, { tags: 1, blobs: 4, bytes: sizeOf(one) }])
    assert.deepEqual(await larder.images(), [])
    assert.deepEqual(await kept(larder), { bytes: 0, blobs: 0 })
    for (const { digest } of [one.manifest, one.config, ...one.layers]) assert.equal(await larder.holds(digest), false)
    larder.upstream.reset()
    await larder.pull(app, '1', one)
    assert.equal(larder.upstream.count({ method: 'GET', kind: 'manifest' }), 1)
    assert.equal(larder.upstream.count({ method: 'GET', kind: 'blob' }), 3)
    assert.deepEqual(await kept(larder), { bytes: sizeOf(one), blobs: 4 })
  })

  test('keeps what another image needs', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(`${second}/team/two`, '1', two)
    const [, { unique } = { unique: 0 }] = await larder.images()
    const { json } = await larder.call(`/images/${app}:1`, 'DELETE')
    assert.deepEqual(json, { tags: 1, blobs: 3, bytes: sizeOf(one) - base.length })
    assert.equal(unique, sizeOf(one) - base.length)
    larder.other.reset()
    await larder.pull(`${second}/team/two`, '1', two)
    assert.equal(larder.other.count({ kind: 'blob' }), 0)
    assert.deepEqual(await kept(larder), { bytes: sizeOf(two), blobs: 4 })
  })

  test('keeps all of it where another tag points to the same manifest', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(app, 'latest', one)
    assert.deepEqual((await larder.call(`/images/${app}:1`, 'DELETE')).json, { tags: 1, blobs: 0, bytes: 0 })
    assert.deepEqual(
      (await larder.images()).map(({ tag }) => tag),
      ['latest'],
    )
    const { json } = await larder.call(`/images/${app}:latest`, 'DELETE')
    assert.deepEqual(json, { tags: 1, blobs: 4, bytes: sizeOf(one) })
  })

  test('keeps what was pulled by digest through another repository', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(`${second}/copy`, 'x', one)
    await larder.call(`/images/${second}/copy:x`, 'DELETE')
    await larder.pull(`${second}/copy`, one.manifest.digest, one)
    assert.deepEqual((await larder.call(`/images/${app}:1`, 'DELETE')).json, { tags: 1, blobs: 0, bytes: 0 })
  })

  test('removes an index with its images, except for one with its own tag', async () => {
    const arm = image({ platform: { os: 'linux', architecture: 'arm64' }, config: { n: 3 } })
    const both = index([one, arm])
    await using larder = await Larder.open()
    await larder.stock(app, 'multi', both)
    await larder.pull(app, arm.manifest.digest, arm)
    await larder.stock(app, 'arm', arm)
    const { json } = await larder.call(`/images/${app}:multi`, 'DELETE')
    assert.deepEqual(json, { tags: 1, blobs: 5, bytes: both.manifest.size + sizeOf(one) })
    assert.deepEqual(await kept(larder), { bytes: sizeOf(arm), blobs: 3 })
  })

  test('removes what is pinned or being read, and readers get all of it', async () => {
    const body = randomBlob(3 * 1024 * 1024, 9)
    const large = image({ layers: [body] })
    await using larder = await Larder.open()
    await larder.stock(app, 'large', large)
    assert.equal((await larder.call('/pins', 'POST', { pattern: `${app}:large` })).status, 201)
    const digest = large.layers[0]?.digest ?? one.manifest.digest
    await using reader = await open(`${larder.mirror.url}/v2/${app}/blobs/${digest}`)
    const start = await reader.read(1000)
    assert.equal((await larder.call(`/images/${app}:large`, 'DELETE')).json['blobs'], 3)
    assert.equal(await larder.holds(digest), false)
    const rest = await reader.read(body.length)
    assert.ok(Buffer.concat([start, rest]).equals(body))
  })

  test('is refused where nothing of that name is cached', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    for (const name of [`${app}:2`, `${first}/team/apples:1`, 'docker.io/library/alpine:1']) {
      const { status, json } = await larder.call(`/images/${name}`, 'DELETE')
      assert.equal(status, 404, name)
      assert.deepEqual(json, { errors: [{ code: 'NOT_CACHED', message: `nothing is cached of "${name}"` }] })
    }
    assert.equal((await larder.images()).length, 1)
  })
})

suite('A purge of a repository', () => {
  test('removes its tags, manifests that were pulled by digest, and single blobs', async () => {
    await using larder = await Larder.open()
    const untagged = image({ config: { n: 5 } })
    const lone = larder.upstream.addBlob('team/app', randomBlob(5_000, 11))
    larder.upstream.addImage('team/app', undefined, untagged)
    await larder.stock(app, '1', one)
    await larder.stock(app, '2', two)
    await larder.stock(`${app}-more`, '1', image({ layers: [randomBlob(7_000, 12)] }))
    await larder.pull(app, untagged.manifest.digest, untagged)
    await open(`${larder.mirror.url}/v2/team/app/blobs/${lone}`).then((reader) => reader.read(5_000))
    await until(() => larder.holds(lone), 'the lone blob')
    await larder.settled()
    const { status, json } = await larder.call(`/repositories/${app}`, 'DELETE')
    assert.equal(status, 200)
    assert.deepEqual(json, {
      tags: 2,
      blobs: 4 + 3 + 3 + 1,
      bytes: sizeOf(one) + sizeOf(two) - base.length + sizeOf(untagged) + 5_000,
    })
    assert.deepEqual(
      (await larder.images()).map(({ repository }) => repository),
      [`${app}-more`],
    )
    assert.equal((await larder.call(`/repositories/${app}`, 'DELETE')).status, 404)
    await larder.pull(app, '1', one)
  })

  test('keeps what another repository holds', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(`${second}/copy`, 'x', one)
    assert.deepEqual((await larder.call(`/repositories/${app}`, 'DELETE')).json, { tags: 1, blobs: 0, bytes: 0 })
    larder.other.reset()
    await larder.pull(`${second}/copy`, 'x', one)
    assert.equal(larder.other.count({ kind: 'blob' }), 0)
  })

  test('removes its links to what others hold, so they have to be proven again', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(`${second}/copy`, 'x', one)
    await larder.call(`/repositories/${app}`, 'DELETE')
    larder.upstream.removeRepository('team/app')
    const reader = await open(`${larder.mirror.url}/v2/team/app/blobs/${one.config.digest}`)
    assert.equal(reader.status, 404)
  })
})

suite('A purge of an upstream', () => {
  test('removes everything of that upstream and nothing else', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(`${first}/b`, '1', image({ config: { n: 7 } }))
    await larder.stock(`${second}/two`, '1', two)
    assert.deepEqual((await larder.call(`/repositories/${first}`, 'DELETE')).json, {
      tags: 2,
      blobs: 3 + 3,
      bytes: sizeOf(one) - base.length + sizeOf(image({ config: { n: 7 } })),
    })
    assert.deepEqual(await kept(larder), { bytes: sizeOf(two), blobs: 4 })
    assert.equal((await larder.call(`/repositories/${first}`, 'DELETE')).status, 404)
  })
})

suite('A purge of a digest', () => {
  test('removes it, whoever needs it, and the next pull fetches only that', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', one)
    await larder.stock(app, '2', two)
    for (const { digest, size } of [one.layers[0] ?? one.config, one.config, one.manifest]) {
      assert.deepEqual(await larder.call(`/blobs/${digest}`, 'DELETE'), {
        status: 200,
        json: { tags: 0, blobs: 1, bytes: size },
      })
      assert.equal(await larder.holds(digest), false)
      assert.equal((await larder.call(`/blobs/${digest}`, 'DELETE')).status, 404)
      larder.upstream.reset()
      await larder.pull(app, '1', one)
      assert.equal(larder.upstream.count({ method: 'GET' }), 1)
    }
  })
})
