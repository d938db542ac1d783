import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { get } from '../../support/client.ts'
import { image, randomBlob, type TestImage } from '../../support/image.ts'
import { startMirror } from '../../support/mirror.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { random } from '../support/house.ts'
import { idealHits, zipf } from '../support/zipf.ts'

const mebibyte = 2 ** 20
/** 1 for every day; 32 is a store of 1 GiB, fed 10 GiB. */
const scale = Number(process.env['ENTREPOT_TEST_SCALE'] ?? 1)
const bound = 32 * mebibyte * scale
const pulled = 10 * bound
const clients = 6

/** Images over a few bases, three times what the store holds. */
function catalogue(): TestImage[] {
  const chance = random(7)
  const size = (): number => Math.ceil((0.05 + chance.next().value * 0.75) * mebibyte * Math.sqrt(scale))
  const bases = Array.from({ length: 6 }, (_, seed) => randomBlob(size(), seed))
  const images: TestImage[] = []
  for (let total = 0; total < 3 * bound; ) {
    const number = images.length
    const own = [randomBlob(size(), 1000 + 2 * number), randomBlob(size(), 1001 + 2 * number)]
    const base = bases[number % bases.length] ?? Buffer.alloc(0)
    images.push(image({ layers: [base, ...own], config: { number } }))
    total += own.reduce((sum, { length }) => sum + length, 0)
  }
  return images
}

function pullsOf(images: readonly TestImage[]): TestImage[] {
  const pulls: TestImage[] = []
  let bytes = 0
  for (const place of zipf(images.length, 0.9, 3)) {
    const found = images[place]
    if (bytes >= pulled || !found) return pulls
    pulls.push(found)
    bytes += [found.manifest, found.config, ...found.layers].reduce((sum, { size }) => sum + size, 0)
  }
  return pulls
}

function bytesIn(folder: string): number {
  const names = readdirSync(folder).filter((name) => !name.endsWith('.json'))
  return names.reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0)
}

describe('a bounded store', () => {
  it('that gets ten times its bound stays below it, hits as often as an ideal LRU, and fails no request', async (test) => {
    const images = catalogue()
    const pulls = pullsOf(images)
    await using upstream = await TestUpstream.start()
    for (const [number, added] of images.entries()) upstream.addImage(`team/app${number % 9}`, undefined, added)
    const names = new Map(images.map((each, number) => [each.manifest.digest, `team/app${number % 9}`]))
    await using mirror = await startMirror({
      upstreams: { 'registry.test': upstream.url },
      config: { storage: { maxSize: `${bound / mebibyte}MiB` } },
    })
    const blobs = join(mirror.path, 'blobs', 'sha256')
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, bytesIn(blobs))
    }, 20).unref()
    const fetch = async (url: string, digest: string): Promise<void> => {
      const got = await get(url, { keep: 0 })
      assert.deepEqual([got.status, got.complete, got.digest], [200, true, digest])
    }
    const waiting = pulls.values()
    const client = async (): Promise<void> => {
      for (const { manifest, config, layers } of waiting) {
        const base = `${mirror.url}/v2/${names.get(manifest.digest)}`
        await fetch(`${base}/manifests/${manifest.digest}`, manifest.digest)
        for (const { digest } of [config, ...layers]) await fetch(`${base}/blobs/${digest}`, digest)
        const { storage } = await mirror.stats()
        assert.ok(storage.used <= bound, `${storage.used} bytes are recorded, of ${bound}`)
      }
    }
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: clients }, client))
    clearInterval(watch)
    const stats = await mirror.stats()
    const ideal = idealHits(pulls, bound)
    const ratio = ideal.hits / ideal.requests
    const gigabytes = (stats.bytes.served / 1e9).toFixed(2)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    test.diagnostic(
      `${gigabytes} GB in ${seconds} s: hit ratio ${stats.hitRatio.toFixed(4)}, ideal ${ratio.toFixed(4)}`,
    )
    test.diagnostic(`at most ${most} of ${bound} bytes on disk; ${stats.evictions} blobs evicted`)
    assert.ok(stats.hitRatio > ratio * 0.95, `hit ratio ${stats.hitRatio}, ideal ${ratio}`)
    // The folder is not read in one moment.
    assert.ok(most <= bound + clients * mebibyte * Math.sqrt(scale), `${most} bytes were on disk, of ${bound}`)
    assert.equal(mirror.log.filter(({ level }) => level === 'error').length, 0)
    assert.ok(stats.evictions > 100)
  })
})
