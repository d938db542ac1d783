import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Digest } from '../../../src/oci/digest.ts'
import { get, open } from '../../support/client.ts'
import { image, index, randomBlob, type TestImage, type TestIndex } from '../../support/image.ts'
import { until } from '../../support/wait.ts'
import { outcomeOf } from '../answer.ts'
import { first, Larder } from '../support/larder.ts'

const KiB = 1024
const hub = `${first}/team`
const minute = 60_000

/** An image of one layer of its own, over a base if there is one: each of 100 KiB. */
function app(seed: number, base?: Buffer): TestImage {
  const own = randomBlob(100 * KiB, seed)
  return image({ layers: base ? [base, own] : [own], config: { seed } })
}

function partsOf(added: TestImage | TestIndex): Digest[] {
  if ('images' in added) return [added.manifest.digest, ...added.images.flatMap(partsOf)]
  return [added.manifest, added.config, ...added.layers].map(({ digest }) => digest)
}

async function bounded(kibibytes: number, options: Readonly<Record<string, unknown>> = {}) {
  const clock = { now: Date.UTC(2026, 0, 1) }
  const larder = await Larder.open({ storage: { maxSize: `${kibibytes}KiB`, ...options } }, clock)
  return {
    larder,
    clock,
    async stock(tag: string, added: TestImage | TestIndex, repository = `${hub}/${tag}`): Promise<void> {
      clock.now += 2 * minute
      await larder.stock(repository, tag, added)
    },
    async stored(): Promise<string[]> {
      const names = await readdir(join(larder.mirror.path, 'blobs', 'sha256'))
      return names.filter((name) => !name.endsWith('.json')).map((name) => `sha256:${name}`)
    },
    /** Of the parts of an image, how many are stored. */
    async holds(added: TestImage | TestIndex): Promise<number> {
      const stored = new Set<string>(await this.stored())
      return partsOf(added).filter((digest) => stored.has(digest)).length
    },
    [Symbol.asyncDispose]: () => larder[Symbol.asyncDispose](),
  }
}

describe('eviction', () => {
  it('of one of two images with a common base keeps the other whole, and the last one takes the base with it', async () => {
    await using shop = await bounded(450)
    const base = randomBlob(100 * KiB, 99)
    const [one, two, three, four] = [app(1, base), app(2, base), app(3), app(4)]
    await shop.stock('one', one)
    await shop.stock('two', two)
    await shop.stock('three', three)
    await shop.stock('four', four)
    // The base is the oldest of all, and needed by the second as well.
    assert.deepEqual([await shop.holds(one), await shop.holds(two)], [1, 4])
    await shop.larder.upstream.stop()
    await shop.larder.pull(`${hub}/two`, two.manifest.digest, two)
    await shop.larder.pull(`${hub}/two`, 'two', two)
    await shop.larder.upstream.restart()
    for (const seed of [5, 6, 7, 8]) await shop.stock(`n${seed}`, app(seed))
    assert.deepEqual([await shop.holds(one), await shop.holds(two)], [0, 0])
    assert.deepEqual((await shop.larder.images()).map(({ tag }) => tag).sort(), ['n5', 'n6', 'n7', 'n8'])
    // No record is left of what has gone: the first is fetched anew, and whole.
    await shop.stock('one', one)
    assert.equal(await shop.holds(one), 4)
  })

  it('keeps the layers of a manifest that is used, although nobody reads them', async () => {
    await using shop = await bounded(350)
    const [used, idle] = [app(1), app(2)]
    await shop.stock('used', used)
    await shop.stock('idle', idle)
    shop.clock.now += 3 * minute
    const { status } = await get(`${shop.larder.mirror.url}/v2/${hub}/used/manifests/used`, { method: 'HEAD' })
    assert.equal(status, 200)
    await shop.stock('three', app(3))
    await shop.stock('four', app(4))
    assert.deepEqual([await shop.holds(used), await shop.holds(idle)], [3, 0])
  })

  it('removes an index together with its manifests and blobs, and keeps them together', async () => {
    await using shop = await bounded(350)
    const added = index([app(1), image({ platform: { os: 'linux', architecture: 'arm64' } })])
    await shop.stock('multi', added)
    await shop.stock('two', app(2))
    shop.clock.now += 3 * minute
    await get(`${shop.larder.mirror.url}/v2/${hub}/multi/manifests/multi`)
    await shop.stock('three', app(3))
    await shop.stock('four', app(4))
    assert.equal(await shop.holds(added), 4)
    for (const seed of [5, 6, 7]) await shop.stock(`n${seed}`, app(seed))
    assert.equal(await shop.holds(added), 0)
  })

  for (const pattern of [`${hub}/kept:kept`, `${hub}/kept`, `${first}/*/kept`, `${hub}/k*:k*`]) {
    it(`never removes what is pinned: ${pattern}`, async () => {
      await using shop = await bounded(450)
      const base = randomBlob(100 * KiB, 99)
      const kept = index([app(1, base)])
      await shop.stock('kept', kept)
      await shop.larder.call('/pins', 'POST', { pattern })
      const rest = [2, 3, 4, 5, 6].map((seed) => app(seed, base))
      for (const [number, added] of rest.entries()) await shop.stock(`n${number}`, added)
      assert.deepEqual([await shop.holds(kept), await shop.holds(rest[0] ?? app(2))], [5, 1])
      await shop.larder.call(`/pins/${encodeURIComponent(pattern)}`, 'DELETE')
      for (const seed of [7, 8, 9, 10]) await shop.stock(`n${seed}`, app(seed))
      assert.equal(await shop.holds(kept), 0)
    })
  }

  it('never exceeds the bound where all is pinned: other blobs are served and not stored', async () => {
    await using shop = await bounded(250)
    await shop.stock('one', app(1))
    await shop.stock('two', app(2))
    await shop.larder.call('/pins', 'POST', { pattern: `${hub}/*` })
    const stored = (await shop.stored()).sort()
    await shop.stock('three', app(3), `${first}/other/three`)
    assert.ok((await shop.larder.mirror.stats()).storage.used <= 250 * KiB)
    for (const digest of stored) assert.ok((await shop.stored()).includes(digest))
  })

  for (const state of ['stored', 'absent']) {
    it(`removes a blob that is being read only after the read, which began while it was ${state}`, async () => {
      await using shop = await bounded(8 * KiB)
      // More than the sockets between take.
      const slow = image({ layers: [randomBlob(7000 * KiB, 1)] })
      const [layer] = slow.layers
      assert.ok(layer)
      if (state === 'stored') await shop.stock('slow', slow)
      else shop.larder.upstream.addImage('team/slow', 'slow', slow)
      {
        await using reader = await open(`${shop.larder.mirror.url}/v2/${hub}/slow/blobs/${layer.digest}`)
        assert.equal(reader.status, 200)
        await until(async () => (await shop.stored()).includes(layer.digest), 'it to be stored')
        const rest = image({ layers: [randomBlob(3000 * KiB, 2)] })
        await shop.stock('two', rest)
        assert.ok((await shop.stored()).includes(layer.digest))
        assert.ok((await reader.read(layer.size)).equals(layer.body))
      }
      await shop.stock('three', image({ layers: [randomBlob(3000 * KiB, 3)] }))
      assert.ok(!(await shop.stored()).includes(layer.digest))
    })
  }

  it('removes nothing for a blob that is larger than the bound', async () => {
    await using shop = await bounded(350)
    const one = app(1)
    await shop.stock('one', one)
    const large = image({ layers: [randomBlob(400 * KiB, 2)] })
    await shop.stock('large', large)
    assert.equal(await shop.holds(one), 3)
    const again = await get(`${shop.larder.mirror.url}/v2/${hub}/large/blobs/${large.layers[0]?.digest}`)
    assert.deepEqual([again.status, again.complete], [200, true])
    assert.notEqual(outcomeOf(again), 'entrepot; hit')
  })

  it('removes what is idle for too long, and keeps used images whole', async () => {
    await using shop = await bounded(10 * KiB, { maxIdle: '1d' })
    const base = randomBlob(100 * KiB, 99)
    const [old, used] = [app(1, base), app(2, base)]
    await shop.stock('old', old)
    await shop.stock('used', used)
    shop.clock.now += 36 * 60 * minute
    await get(`${shop.larder.mirror.url}/v2/${hub}/used/manifests/${used.manifest.digest}`)
    await shop.larder.call('/evict', 'POST')
    assert.deepEqual([await shop.holds(old), await shop.holds(used)], [1, 4])
    shop.clock.now += 36 * 60 * minute
    await shop.larder.call('/evict', 'POST')
    assert.deepEqual(await shop.stored(), [])
    assert.equal((await shop.larder.mirror.stats()).storage.used, 0)
  })

  it('of many blobs never blocks requests', async () => {
    await using shop = await bounded(10 * KiB, { maxIdle: '1d' })
    const layers = Array.from({ length: 90 }, (_, seed) => randomBlob(100, seed))
    for (let number = 0; number < 2; number += 1) {
      await shop.stock(`n${number}`, image({ layers: [...layers, randomBlob(100, 1000 + number)], config: { number } }))
    }
    shop.clock.now += 36 * 60 * minute
    let answered = 0
    let over = false
    const evicting = shop.larder.call('/evict', 'POST').then(({ json }) => {
      over = true
      return json
    })
    while (!over) {
      assert.equal((await fetch(`${shop.larder.mirror.url}/v2/`)).status, 200)
      answered += 1
    }
    assert.equal((await evicting)['blobs'], 90 + 3 * 2)
    assert.ok(answered > 5, `${answered} requests were answered meanwhile`)
    await until(async () => (await shop.stored()).length === 0, 'everything to be gone')
  })
})
