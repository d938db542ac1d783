import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { diskOf, tryDisk } from '../../src/storage/disk.ts'
import { get } from '../support/client.ts'
import { image, randomBlob, type TestImage } from '../support/image.ts'
import { tempDir } from '../support/temp.ts'
import { until } from '../support/wait.ts'
import { hit, outcomeOf } from './answer.ts'
import { House, repository } from './support/house.ts'
import { mountTinyDisk, type TinyDisk } from './support/tiny-disk.ts'

const run = promisify(execFile)
const MB = 1_000_000
const size = 2 * MB

function app(seed: number): TestImage {
  return image({ layers: [randomBlob(size, seed)], config: { seed } })
}

/** Whatever the disk does: every digest right. */
async function pull({ mirror }: House, { manifest, config, layers }: TestImage): Promise<void> {
  const base = `${mirror.url}/v2/${repository}`
  for (const path of [`manifests/${manifest.digest}`, ...[config, ...layers].map(({ digest }) => `blobs/${digest}`)]) {
    const got = await get(`${base}/${path}`)
    assert.deepEqual([got.status, got.complete], [200, true], path)
    assert.ok(path.endsWith(got.digest), path)
  }
}

async function degraded({ mirror }: House): Promise<unknown> {
  const answer = await fetch(`${mirror.adminUrl}/readyz`)
  assert.equal(answer.status, 200)
  return ((await answer.json()) as { degraded: unknown }).degraded
}

async function metric({ mirror }: House, series: string): Promise<number> {
  const text = await (await fetch(`${mirror.adminUrl}/metrics`)).text()
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length + 1),
  )
}

const failing = 'entrepot_failing{part="storage"}'

async function isStored({ mirror }: House, { layers }: TestImage): Promise<boolean> {
  const names = await readdir(join(mirror.path, 'blobs', 'sha256'))
  return layers.every(({ digest }) => names.includes(digest.slice('sha256:'.length)))
}

async function withDisk(megabytes: number, test: { skip(reason: string): void }): Promise<TinyDisk | undefined> {
  const disk = await mountTinyDisk(megabytes * MB)
  if (typeof disk !== 'string') return disk
  test.skip(disk)
  return undefined
}

describe('a small disk', () => {
  it('limits the store below a larger configured size, and is never filled', async (test) => {
    await using disk = await withDisk(40, test)
    if (!disk) return
    await using house = await House.open({ path: disk.path, storage: { maxSize: '50GiB' } })
    const images = Array.from({ length: 14 }, (_, seed) => app(seed))
    for (const [number, added] of images.entries()) {
      house.upstream.addImage(repository, `v${number}`, added)
      await pull(house, added)
      await house.settled()
      const { free, total } = await diskOf(disk.path)
      assert.ok(free >= total / 2 - 3 * size, `${free} bytes are free`)
      assert.ok(await isStored(house, added))
    }
    const { storage, evictions } = await house.mirror.stats()
    assert.ok(storage.max < 40 * MB && storage.used <= storage.max)
    assert.ok(evictions > 0)
    assert.deepEqual(await degraded(house), [])
  })

  it('that others fill loses cached blobs first; then pulls still work and are not stored', async (test) => {
    await using disk = await withDisk(40, test)
    if (!disk) return
    await using house = await House.open({ path: disk.path })
    const [one, two, three] = [app(1), app(2), app(3)]
    for (const added of [one, two, three]) house.upstream.addImage(repository, undefined, added)
    await pull(house, one)
    await house.settled()
    assert.ok(await isStored(house, one))

    // What is known by now is written.
    assert.equal((await house.mirror.stats()).storage.blobs, 3)
    // To the last byte: the metadata cannot be written either.
    await disk.fill(0)
    await Promise.all([pull(house, two), pull(house, two), pull(house, three)])
    await house.settled()
    assert.equal(await isStored(house, one), false)
    await pull(house, one)
    assert.deepEqual(await degraded(house), ['storage'])
    assert.equal(await metric(house, failing), 1)
    assert.ok((await metric(house, 'entrepot_evicted_blobs_total')) >= 1)

    await disk.free()
    for (const added of [one, two, three]) await pull(house, added)
    await house.settled()
    for (const added of [one, two, three]) assert.ok(await isStored(house, added))
    assert.deepEqual(await degraded(house), [])
    assert.equal(await metric(house, failing), 0)
    const { storage } = await house.mirror.stats()
    assert.ok(storage.used > 3 * size && storage.used < 3 * size + MB, `${storage.used} bytes are recorded`)
    await house.upstream.stop()
    for (const { digest } of [one, two, three].flatMap(({ layers }) => layers)) {
      assert.equal(outcomeOf(await house.get(digest)), hit)
    }
  })

  it('that is full gets room for a running fill by evicting the least recently used', async (test) => {
    await using disk = await withDisk(40, test)
    if (!disk) return
    await using house = await House.open({ path: disk.path })
    const old = Array.from({ length: 8 }, (_, seed) => app(seed))
    for (const added of old) {
      house.upstream.addImage(repository, undefined, added)
      await pull(house, added)
      await house.settled()
    }
    // Within the reserve that is left to others, and not within what the fill needs.
    await disk.fill(MB / 2)
    const added = app(99)
    house.upstream.addImage(repository, undefined, added)
    await pull(house, added)
    await house.settled()
    assert.equal(await metric(house, 'entrepot_fills_total{end="failed"}'), 0)
    assert.ok((await metric(house, 'entrepot_evicted_blobs_total')) > 0)
  })
})

describe('a disk that becomes read-only', () => {
  it('serves what is stored, passes the rest through, reports it, and stores again when it can', async (test) => {
    await using disk = await withDisk(200, test)
    if (!disk) return
    await using elsewhere = await tempDir()
    // A file system with a file open for writing cannot be made read-only by hand; a kernel that finds it damaged can.
    await mkdir(disk.path)
    for (const name of ['lock', 'metadata.sqlite']) await symlink(join(elsewhere.path, name), join(disk.path, name))
    await using house = await House.open({ path: disk.path })
    const [one, two] = [app(1), app(2)]
    for (const added of [one, two]) house.upstream.addImage(repository, undefined, added)
    await pull(house, one)
    await house.settled()
    const mount = join(disk.path, '..')
    await until(
      () =>
        run('mount', ['-o', 'remount,ro', mount]).then(
          () => true,
          () => false,
        ),
      'the disk to be read-only',
    )
    await Promise.all([pull(house, one), pull(house, two), pull(house, two)])
    assert.deepEqual(await degraded(house), ['storage'])
    assert.equal(await metric(house, failing), 1)
    await house.upstream.stop()
    await house.get(one.layers[0]?.digest ?? one.config.digest)
    await house.upstream.restart()
    await assert.rejects(tryDisk(join(disk.path, 'ingest', 'trial')), { code: 'EROFS' })

    await run('mount', ['-o', 'remount,rw', mount])
    await tryDisk(join(disk.path, 'ingest', 'trial'))
    await pull(house, two)
    await house.settled()
    assert.ok(await isStored(house, two))
    assert.deepEqual(await degraded(house), [])
    assert.deepEqual(await readdir(join(disk.path, 'ingest')), [])
  })
})
