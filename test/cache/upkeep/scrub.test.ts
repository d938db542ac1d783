import assert from 'node:assert/strict'
import { chmod, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Pace } from '../../../src/cache/upkeep/pace.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { pathOf } from '../../../src/storage/layout.ts'
import { call } from '../../support/admin-client.ts'
import { Gate } from '../../support/gate.ts'
import { image, index, randomBlob, type TestImage } from '../../support/image.ts'
import { Stage } from '../../support/stage.ts'
import { until } from '../../support/wait.ts'
import { hit, miss, outcomeOf } from '../answer.ts'
import { random } from '../support/house.ts'

/** More than is kept in memory. */
const size = 70 * 1024
const blobGet = { kind: 'blob', method: 'GET' } as const

const kinds = ['truncated', 'flipped', 'deleted', 'swapped'] as const
type Damage = (typeof kinds)[number]

async function pull(stage: Stage, added: TestImage, name = 'library/app'): Promise<void> {
  const { manifest, config, layers } = added
  assert.equal((await stage.get(`/v2/${name}/manifests/${manifest.digest}`)).status, 200)
  for (const { digest } of [config, ...layers]) {
    assert.equal((await stage.get(`/v2/${name}/blobs/${digest}`)).digest, digest)
  }
  await settled(stage)
}

/** Resolves when what was pulled is stored. */
async function settled({ mirror }: Stage): Promise<void> {
  await until(async () => (await call<unknown[]>(`${mirror.adminUrl}/api/fills`)).json.length === 0, 'the fills to end')
}

async function stocked(added: TestImage, config: Readonly<Record<string, unknown>> = {}): Promise<Stage> {
  const stage = await Stage.start({ config })
  stage.upstream.addImage('library/app', 'latest', added)
  await pull(stage, added)
  return stage
}

function fileOf({ path }: Stage, digest: Digest): string {
  return pathOf(path, { kind: 'blob', digest })
}

async function damage(stage: Stage, digest: Digest, how: Damage, other: Digest): Promise<void> {
  const file = fileOf(stage, digest)
  await chmod(file, 0o600)
  if (how === 'truncated') await truncate(file, size - 7)
  if (how === 'deleted') await rm(file)
  if (how === 'swapped') await writeFile(file, await readFile(fileOf(stage, other)))
  if (how === 'flipped') {
    const bytes = await readFile(file)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    await writeFile(file, bytes)
  }
}

/** At full speed, as from the admin API; what it counted. */
async function scrub({ mirror }: Stage): Promise<Record<string, unknown>> {
  const path = `${mirror.adminUrl}/api/scrub`
  assert.equal((await call(path, 'POST')).status, 202)
  const { finishedAt, ...counted } = await until(async () => {
    const { json } = await call(path)
    return json['state'] === 'idle' ? (json as Record<string, unknown>) : undefined
  }, 'the scrub to end')
  assert.equal(typeof finishedAt, 'number')
  return counted
}

async function usageOnDisk({ path }: Stage): Promise<{ blobs: number; used: number }> {
  const folder = join(path, 'blobs', 'sha256')
  const names = (await readdir(folder)).filter((name) => !name.endsWith('.json'))
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
  return { blobs: sizes.length, used: sizes.reduce((sum, each) => sum + each, 0) }
}

async function checkUsage(stage: Stage): Promise<void> {
  const { blobs, used } = (await stage.mirror.stats()).storage
  assert.deepEqual({ blobs, used }, await usageOnDisk(stage))
}

/** Looks into the metadata, and changes it, while the mirror does not run. */
async function withMetadata(stage: Stage, work: (sqlite: SqliteStore) => Promise<void>): Promise<void> {
  await stage.stop()
  {
    await using sqlite = SqliteStore.open(pathOf(stage.path, { kind: 'metadata' }))
    await work(sqlite)
  }
  await stage.restart()
}

describe('a hundred damaged blobs', () => {
  const added = image({ layers: Array.from({ length: 110 }, (_, seed) => randomBlob(size, seed)) })
  const digests = added.layers.map(({ digest }) => digest)
  const chance = random(11)
  const victims = digests.toSorted(() => chance.next().value - 0.5).slice(0, 100)
  const sound = digests.find((digest) => !victims.includes(digest)) ?? added.config.digest

  it('are replaced by the request that finds them missing or of a wrong size', async () => {
    await using stage = await stocked(added)
    for (const [number, digest] of victims.entries()) {
      await damage(stage, digest, number % 2 === 0 ? 'truncated' : 'deleted', sound)
    }
    stage.upstream.reset()
    for (const digest of victims) {
      const got = await stage.get(`/v2/library/app/blobs/${digest}`)
      assert.deepEqual([got.status, got.digest, outcomeOf(got)], [200, digest, miss])
    }
    assert.equal(stage.upstream.count(blobGet), victims.length)
    await settled(stage)
    await stage.upstream.stop()
    for (const digest of digests) assert.equal(outcomeOf(await stage.get(`/v2/library/app/blobs/${digest}`)), hit)
    await checkUsage(stage)
  })

  it('are found and replaced by a scrub, and no wrong byte is served afterwards', async () => {
    await using stage = await stocked(added)
    for (const [number, digest] of victims.entries()) {
      await damage(stage, digest, kinds[number % kinds.length] ?? 'flipped', sound)
    }
    stage.upstream.reset()
    // Of the deleted quarter there is nothing to read.
    const counted = await scrub(stage)
    assert.deepEqual(counted, { state: 'idle', checked: 112 - 25, damaged: 100, repaired: 100 })
    assert.equal(stage.upstream.count(blobGet), victims.length)
    await stage.upstream.stop()
    for (const digest of digests) {
      const got = await stage.get(`/v2/library/app/blobs/${digest}`)
      assert.deepEqual([got.digest, outcomeOf(got)], [digest, hit])
    }
    await checkUsage(stage)
    const metrics = await (await fetch(`${stage.mirror.adminUrl}/metrics`)).text()
    const shown = metrics.split('\n').filter((line) => /^entrepot_(scrub_)?damaged_blobs/.test(line))
    assert.deepEqual(shown.toSorted(), ['entrepot_damaged_blobs_total 100', 'entrepot_scrub_damaged_blobs 100'])
  })
})

describe('a scrub', () => {
  const added = image({ layers: [randomBlob(size, 1), randomBlob(size, 2)] })
  const [layer] = added.layers.map(({ digest }) => digest)
  assert.ok(layer)

  it('replaces manifests, too, and restores their links', async () => {
    const multi = index([added])
    await using stage = await stocked(added)
    stage.upstream.addImage('library/app', 'multi', multi)
    await stage.get('/v2/library/app/manifests/multi')
    await damage(stage, multi.manifest.digest, 'flipped', layer)
    await damage(stage, added.manifest.digest, 'deleted', layer)
    const { damaged, repaired } = await scrub(stage)
    assert.deepEqual([damaged, repaired], [2, 2])
    await stage.upstream.stop()
    await stage.restart()
    for (const digest of [multi.manifest.digest, added.manifest.digest]) {
      assert.equal((await stage.get(`/v2/library/app/manifests/${digest}`)).digest, digest)
    }
    await pull(stage, added)
    await checkUsage(stage)
  })

  it('removes what cannot be fetched again, and the next pull fetches it', async () => {
    await using stage = await stocked(added)
    await damage(stage, layer, 'flipped', layer)
    await stage.upstream.stop()
    const { damaged, repaired } = await scrub(stage)
    assert.deepEqual([damaged, repaired], [1, 0])
    assert.equal((await stage.get(`/v2/library/app/blobs/${layer}`)).status, 503)
    await checkUsage(stage)
    await stage.upstream.restart()
    stage.clock.now += 60_000
    await pull(stage, added)
    await checkUsage(stage)
  })

  it('corrects missing records, records of what is gone, and wrong sizes', async () => {
    await using stage = await stocked(added)
    const gone = digestOf(Buffer.from('gone'))
    await withMetadata(stage, async (sqlite) => {
      const uses = new Map((await sqlite.index.leastRecentlyUsed(undefined, 10)).map((use) => [use.digest, use]))
      const manifest = uses.get(added.manifest.digest)
      const [wrong, config] = [uses.get(layer), uses.get(added.config.digest)]
      assert.ok(manifest && wrong && config)
      // As if the seconds before a crash had been lost.
      assert.ok(await sqlite.index.forgetAccess(manifest.digest, manifest.at))
      for (const digest of uses.keys()) await sqlite.index.deleteLinks(digest)
      await sqlite.index.deleteReferences(manifest.digest)
      await sqlite.index.recordAccesses([
        { ...wrong, size: 5 },
        { digest: gone, size: 1000, at: 1 },
      ])
    })
    const { damaged } = await scrub(stage)
    assert.equal(damaged, 1)
    await checkUsage(stage)
    await stage.upstream.stop()
    await pull(stage, added)
    await withMetadata(stage, async ({ index: found }) => {
      assert.equal((await found.childrenOf(added.manifest.digest)).length, 3)
      assert.equal(await found.lastAccess(gone), undefined)
    })
  })

  it('runs once at a time: the second call resolves to false', async () => {
    await using stage = await stocked(added)
    const gate = new Gate()
    await damage(stage, layer, 'deleted', layer)
    stage.upstream.fault(blobGet, { gate })
    const path = `${stage.mirror.adminUrl}/api/scrub`
    assert.equal((await call(path, 'POST')).status, 202)
    await gate.arrived()
    assert.equal((await call(path, 'POST')).status, 409)
    gate.open()
    await until(async () => (await call(path)).json['state'] === 'idle', 'the scrub to end')
    assert.equal((await call(path)).json['repaired'], 1)
  })

  it('stops with the mirror, although it waits for a silent upstream', async () => {
    await using stage = await stocked(added)
    const gate = new Gate()
    await damage(stage, layer, 'deleted', layer)
    stage.upstream.fault(blobGet, { gate })
    assert.equal((await call(`${stage.mirror.adminUrl}/api/scrub`, 'POST')).status, 202)
    await gate.arrived()
    await stage.stop()
    gate.open()
  })

  it('finds nothing and harms nothing while blobs come and go', async () => {
    await using stage = await Stage.start({ config: { storage: { maxSize: '700KiB' } } })
    const images = Array.from({ length: 12 }, (_, seed) =>
      image({ layers: [randomBlob(size, 100 + seed), randomBlob(size, 200 + seed)], config: { seed } }),
    )
    for (const each of images) stage.upstream.addImage('library/app', undefined, each)
    let over = false
    const scrubbing = (async () => {
      for (; !over; ) assert.deepEqual((await scrub(stage))['damaged'], 0)
    })()
    const client = async (step: number): Promise<void> => {
      for (let turn = 0; turn < 24; turn += 1) {
        stage.clock.now += 1000
        const each = images[(turn * step) % images.length]
        if (each) await pull(stage, each)
      }
    }
    await Promise.all([client(1), client(5), client(7)])
    over = true
    await scrubbing
    assert.ok((await stage.mirror.stats()).evictions > 20)
    await checkUsage(stage)
  })
})

describe('the pace of a scrub', () => {
  it('is so many bytes a second, for pieces of any size, and without bursts', async () => {
    const clock = { now: 0 }
    const waits: number[] = []
    const pace = new Pace({
      rate: 1000,
      now: () => clock.now,
      signal: new AbortController().signal,
      wait: async (milliseconds) => {
        waits.push(milliseconds)
        clock.now += milliseconds
      },
    })
    for (let piece = 0; piece < 100; piece += 1) await pace.spent(piece % 2 === 0 ? 300 : 1)
    assert.ok(clock.now >= 15_050 - 10, `${clock.now} ms for 15050 bytes`)
    assert.ok(clock.now <= 15_050, `${clock.now} ms for 15050 bytes`)
    // An hour of something else is not made up for.
    clock.now += 3_600_000
    await pace.spent(1)
    waits.length = 0
    await pace.spent(1000)
    await pace.spent(1000)
    assert.ok(waits.reduce((sum, each) => sum + each, 0) >= 900)
  })

  it('does not wait where there is no limit, and rejects when its signal is aborted', async () => {
    const stopped = new AbortController()
    const wait = () => assert.fail('it waits')
    const pace = new Pace({ rate: Number.POSITIVE_INFINITY, now: () => 0, signal: stopped.signal, wait })
    for (let piece = 0; piece < 100; piece += 1) await pace.spent(1e9)
    stopped.abort()
    await assert.rejects(pace.spent(1))
  })

  it('rejects during a wait when its signal is aborted', async () => {
    const stopped = new AbortController()
    const pace = new Pace({ rate: 1, now: () => 0, signal: stopped.signal })
    const waiting = pace.spent(1_000_000)
    stopped.abort()
    await assert.rejects(waiting)
  })
})
