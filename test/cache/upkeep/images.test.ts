import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { image, index, randomBlob } from '../../support/image.ts'
import { first, Larder, second } from '../support/larder.ts'

const base = randomBlob(40_000, 1)
const one = image({ layers: [base, randomBlob(10_000, 2)], config: { n: 1 } })
const two = image({ layers: [base, randomBlob(20_000, 3)], config: { n: 2 } })

function sizeOf({ manifest, config, layers }: typeof one): number {
  return [manifest, config, ...layers].reduce((sum, { size }) => sum + size, 0)
}

suite('What is cached', () => {
  test('is an empty list at the start', async () => {
    await using larder = await Larder.open()
    assert.deepEqual((await larder.call('/images')).json, { images: [], next: null })
  })

  test('lists a pulled image', async () => {
    const clock = { now: 1_700_000_000_000 }
    await using larder = await Larder.open({}, clock)
    await larder.stock(`${first}/team/app`, '1.0', one)
    clock.now += 1000
    await larder.pull(`${first}/team/app`, '1.0', one)
    const size = sizeOf(one)
    assert.deepEqual((await larder.call('/images')).json, {
      images: [
        {
          repository: `${first}/team/app`,
          tag: '1.0',
          digest: one.manifest.digest,
          mediaType: one.manifest.mediaType,
          platforms: [{ platform: 'linux/amd64', cached: true }],
          size,
          unique: size,
          shared: 0,
          lastUsed: 1_700_000_001_000,
          pinned: false,
          checkedAt: 1_700_000_000_000,
        },
      ],
      next: null,
    })
  })

  test('shows how much images share, across repositories', async () => {
    await using larder = await Larder.open()
    await larder.stock(`${first}/team/one`, 'v', one)
    await larder.stock(`${second}/team/two`, 'v', two)
    const sizes = (await larder.images()).map(({ repository, size, unique, shared }) => [
      repository,
      size,
      unique,
      shared,
    ])
    assert.deepEqual(sizes, [
      [`${second}/team/two`, sizeOf(two), sizeOf(two) - base.length, base.length],
      [`${first}/team/one`, sizeOf(one), sizeOf(one) - base.length, base.length],
    ])
  })

  test('counts everything as shared for two tags of one digest', async () => {
    await using larder = await Larder.open()
    await larder.stock(`${first}/team/app`, 'v1', one)
    await larder.stock(`${first}/team/app`, 'latest', one)
    const shared = (await larder.images()).map(({ tag, unique, shared }) => [tag, unique, shared])
    assert.deepEqual(shared, [
      ['latest', 0, sizeOf(one)],
      ['v1', 0, sizeOf(one)],
    ])
  })

  test('shows which platforms of an index are cached, without attestations', async () => {
    const arm = image({ platform: { os: 'linux', architecture: 'arm', variant: 'v7' }, config: { n: 3 } })
    const proof = image({ platform: { os: 'unknown', architecture: 'unknown' }, config: { n: 4 } })
    const both = index([one, arm, proof])
    await using larder = await Larder.open()
    await larder.stock(`${first}/team/multi`, '1', both)
    const [listed] = await larder.images()
    assert.deepEqual(listed?.platforms, [
      { platform: 'linux/amd64', cached: true },
      { platform: 'linux/arm/v7', cached: false },
    ])
    assert.equal(listed?.size, both.manifest.size + sizeOf(one))
    assert.equal(listed?.unique, listed?.size)
  })

  test('is listed in pages, and by a prefix of the repository', async () => {
    await using larder = await Larder.open()
    const names = [`${first}/a/x`, `${first}/a/x-y`, `${first}/b`, `${second}/a`]
    for (const [n, name] of names.entries()) await larder.stock(name, 'v', image({ config: { n } }))
    assert.deepEqual(
      (await larder.images(`?repository=${first}/a/x`)).map(({ repository }) => repository),
      names.slice(0, 2),
    )
    const seen: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const query: string = next === '' ? '' : `&after=${encodeURIComponent(next)}`
      const { json } = await larder.call<{ images: { repository: string }[]; next: string | null }>(
        `/images?limit=2${query}`,
      )
      assert.ok(json.images.length <= 2)
      seen.push(...json.images.map(({ repository }) => repository))
      next = json.next
    }
    assert.deepEqual(seen, names.toSorted())
  })

  test('leaves out tags whose manifest is not stored', async () => {
    await using larder = await Larder.open()
    await larder.stock(`${first}/team/app`, '1', one)
    await larder.call(`/blobs/${one.manifest.digest}`, 'DELETE')
    assert.deepEqual(await larder.images(), [])
  })
})
