import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fills } from '../../../src/cache/fill/fills.ts'
import { Admission } from '../../../src/cache/upkeep/admission.ts'
import { Eviction, NoRoom } from '../../../src/cache/upkeep/eviction.ts'
import { Retention } from '../../../src/cache/upkeep/retention.ts'
import type { Disk } from '../../../src/cache/upkeep/space.ts'
import type { ContentIndex } from '../../../src/metadata/content-index.ts'
import { MemoryTier } from '../../../src/metadata/memory/memory-tier.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { DataFolder } from '../../../src/storage/data-folder.ts'
import { FileStore } from '../../../src/storage/file-store.ts'
import { pathOf } from '../../../src/storage/layout.ts'
import { Spool } from '../../../src/storage/spool/spool.ts'
import { Gate } from '../../support/gate.ts'
import { tempDir } from '../../support/temp.ts'
import { silent } from '../support/silent.ts'

const note = {
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  repositories: { 'a.test/b': 'public' as const },
}
const gigabyte = 1e9

/** A store whose deletions can be held, with its records. */
class HeldStore extends FileStore {
  gate: Gate | undefined

  override async delete(digest: Digest): Promise<void> {
    await this.gate?.pass()
    await super.delete(digest)
  }
}

async function open({ maxSize, disk }: { maxSize?: number; disk?: () => Promise<Disk> } = {}) {
  const dir = await tempDir()
  const folder = await DataFolder.open(dir.path)
  const sqlite = SqliteStore.open(pathOf(dir.path, { kind: 'metadata' }))
  const asked: string[] = []
  const index = counted(sqlite.index, asked)
  const metadata = new MemoryTier({
    store: sqlite,
    accesses: sqlite.index,
    onFailure: (error) => assert.fail(String(error)),
  })
  const store = new HeldStore(dir.path)
  const createSpool = () => Spool.create(pathOf(dir.path, { kind: 'spool' }))
  let now = 1000
  const fills = new Fills({
    unfollowed: 8,
    dependencies: {
      store,
      createSpool,
      observer: silent,
      now: () => now,
      answerTimeout: 10_000,
      proven: () => undefined,
      sizeOf: async () => undefined,
      adopt: (digest, spool) => admission.blob(digest, spool),
    },
  })
  const eviction: Eviction = new Eviction({
    store,
    metadata,
    index,
    fills,
    observer: silent,
    now: () => now,
    disk: disk ?? (async () => ({ total: 100 * gigabyte, free: 50 * gigabyte })),
    bounds: { maxSize },
    forget: () => undefined,
  })
  const admission: Admission = new Admission({ store, metadata, eviction, fills, observer: silent, now: () => now })
  return {
    sqlite,
    store,
    metadata,
    index,
    asked,
    fills,
    eviction,
    /** Adopts a manifest as it would be adopted from upstream, a moment later than the one before. */
    async put(body: Buffer): Promise<Digest> {
      now += 1
      const digest = digestOf(body)
      const spool = await createSpool()
      try {
        await spool.append(body)
        spool.release()
        await admission.manifest(digest, spool, note)
        return digest
      } finally {
        await spool.close()
      }
    },
    async [Symbol.asyncDispose]() {
      await eviction.stop()
      await metadata[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

/** The same index, which writes down what it is asked. */
function counted(index: ContentIndex, asked: string[]): ContentIndex {
  return new Proxy(index, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (...parameters: unknown[]) => {
        asked.push(String(name))
        return method.apply(target, parameters)
      }
    },
  })
}

describe('a blob that is being removed', () => {
  it('and adopted again meanwhile is stored and recorded in the end', async () => {
    await using house = await open()
    const body = Buffer.from('{}')
    const digest = await house.put(body)
    await house.metadata.usage()
    const use = await house.index.lastAccess(digest)
    assert.ok(use)
    house.store.gate = new Gate()
    const removing = house.eviction.remove(use)
    await house.store.gate.arrived()
    const putting = house.put(body)
    // Nobody else finds it, or counts on it, from now on.
    const read = house.fills.reading(digest, () => house.store.stat(digest))
    // Long enough to do it, for one that does not wait.
    await Promise.race([putting, sleep(100)])
    house.store.gate.open()
    assert.equal(await removing, true)
    await putting
    await read
    assert.deepEqual(await house.store.stat(digest), { digest, size: 2 })
    assert.deepEqual(await house.metadata.usage(), { blobs: 1, bytes: 2 })
    assert.equal((await house.index.lastAccess(digest))?.size, 2)
  })

  it('stays where it was used since it was looked at', async () => {
    await using house = await open()
    const digest = await house.put(Buffer.from('{}'))
    await house.metadata.usage()
    const use = await house.index.lastAccess(digest)
    assert.ok(use)
    house.metadata.touch(digest, 2, use.at + 1)
    assert.equal(await house.eviction.remove(use), false)
    assert.ok(await house.store.stat(digest))
    assert.equal((await house.metadata.usage()).blobs, 1)
  })

  it('keeps its record where the store cannot delete it', async () => {
    await using house = await open()
    const digest = await house.put(Buffer.from('{}'))
    await house.metadata.usage()
    const use = await house.index.lastAccess(digest)
    assert.ok(use)
    house.store.delete = () => Promise.reject(new Error('read-only file system'))
    await assert.rejects(house.eviction.remove(use), /read-only/)
    assert.equal((await house.metadata.usage()).blobs, 1)
  })
})

describe('room', () => {
  it('counts as taken once it is granted, before the blob is recorded', async () => {
    await using house = await open({ maxSize: 1000 })
    const one = await house.eviction.room(400)
    const two = await house.eviction.room(400)
    await assert.rejects(house.eviction.room(400), NoRoom)
    one[Symbol.dispose]()
    one[Symbol.dispose]()
    const three = await house.eviction.room(400)
    await assert.rejects(house.eviction.room(300), NoRoom)
    two[Symbol.dispose]()
    three[Symbol.dispose]()
    assert.ok(await house.eviction.room(1000))
  })

  it('is limited by a disk smaller than the configured size, less a reserve for others', async () => {
    const disk = { total: 1000, free: 1000 }
    await using house = await open({ maxSize: 50 * gigabyte, disk: async () => disk })
    assert.equal(await house.eviction.bound(), 500)
    const digest = await house.put(Buffer.alloc(100, 32))
    disk.free = 900
    assert.equal(await house.eviction.bound(), 500)
    // Others fill it.
    disk.free = 450
    assert.deepEqual(await house.eviction.run(), { blobs: 1, bytes: 100 })
    assert.equal(await house.store.stat(digest), undefined)
    await assert.rejects(house.eviction.room(100), NoRoom)
  })
})

describe('with a hundred thousand blobs', () => {
  it('eviction asks the index a few questions for each blob that goes, and none where nothing has to', async (test) => {
    await using house = await open({ maxSize: 100_000 * 1000 })
    const uses = Array.from({ length: 100_000 }, (_, at) => ({
      digest: digestOf(Buffer.from(`${at}`)),
      size: 1000,
      at,
    }))
    await house.sqlite.index.recordAccesses(uses)
    assert.equal((await house.metadata.usage()).blobs, 100_000)
    assert.equal(await house.eviction.bound(), 100_000_000)
    assert.deepEqual(house.asked, [])
    const startedAt = performance.now()
    const room = await house.eviction.room(1000)
    test.diagnostic(`a run took ${(performance.now() - startedAt).toFixed(0)} ms`)
    room[Symbol.dispose]()
    // Down to the low watermark, 3 % below; a handful of questions for each that goes.
    const { blobs } = await house.metadata.usage()
    assert.ok(blobs <= 97_000 && blobs > 96_900, `${blobs} are left`)
    const gone = 100_000 - blobs
    assert.ok(house.asked.length <= 7 * gone, `${house.asked.length} questions for ${gone} blobs`)
    house.asked.length = 0
    await house.eviction.run()
    await house.eviction.room(1000)
    assert.deepEqual(house.asked, [])
  })

  it('the reason to keep a layer costs two questions for each of its images', async () => {
    await using house = await open()
    const layer = digestOf(Buffer.from('layer'))
    const manifests = Array.from({ length: 500 }, (_, at) => digestOf(Buffer.from(`manifest ${at}`)))
    await house.metadata.recordAccesses(manifests.map((digest, at) => ({ digest, size: 1, at })))
    for (const manifest of manifests) await house.index.addReferences(manifest, [layer])
    house.asked.length = 0
    const retention = await Retention.of(house.index, () => false)
    assert.deepEqual(await retention.reasonToKeep({ digest: layer, size: 1, at: 0 }), { since: 499 })
    assert.ok(house.asked.length <= 1010, `${house.asked.length} questions`)
  })
})
