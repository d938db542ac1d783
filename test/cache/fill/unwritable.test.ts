import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import type { Received } from '../../support/client.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { House, type HouseSettings, repository } from '../support/house.ts'
import { mountTinyDisk } from '../support/tiny-disk.ts'

const MB = 1_000_000
const size = 6 * MB
const body = randomBlob(size)
const digest = digestOf(body)
const blobGet = { kind: 'blob', method: 'GET' } as const

function checkWhole({ status, complete, digest: got }: Received): void {
  assert.deepEqual([status, complete, got], [200, true, digest])
}

function checkPart({ status, complete, body: got }: Received, start: number, end: number): void {
  assert.deepEqual([status, complete], [206, true])
  assert.ok(got?.equals(body.subarray(start, end + 1)))
}

describe('a disk that is full', () => {
  for (const how of ['by its length', 'in chunks, of unknown size', 'in chunks, of known size'] as const) {
    it(`in mid-fill sends every follower on by itself, ${how}`, async (test) => {
      const disk = await mountTinyDisk(32 * MB)
      if (typeof disk === 'string') return test.skip(disk)
      await using _disk = disk
      await using house = await House.open({ path: disk.path })
      house.upstream.addBlob(repository, body)
      if (how === 'in chunks, of known size') await house.describe(digest, size)
      const gate = new Gate()
      const chunked = how === 'by its length' ? {} : { chunked: true as const }
      house.upstream.fault({ ...blobGet, range: undefined }, { ...chunked, gate, gateAt: MB })
      await disk.fill(2 * MB)
      await using idle = await house.open(digest)
      await gate.arrived()
      const pulls = [house.get(digest), house.get(digest), house.get(digest)]
      const sized = how !== 'in chunks, of unknown size'
      const parts = sized ? [house.range(digest, `${MB / 2}-`), house.range(digest, `${MB / 2}-${5 * MB}`)] : []
      await house.followed(1 + pulls.length + parts.length, digest)
      gate.open()
      for (const got of await Promise.all(pulls)) checkWhole(got)
      const [rest, inside] = await Promise.all(parts)
      if (rest) checkPart(rest, MB / 2, size - 1)
      if (inside) checkPart(inside, MB / 2, 5 * MB)
      // The slow one finds what was there, and goes on as well.
      assert.ok((await idle.read(size)).equals(body))

      // Each with a download of its own, from where the disk was full.
      const followers = 1 + pulls.length + parts.length
      const detours = house.upstream.requests.filter(({ method, range }) => method === 'GET' && range !== undefined)
      assert.equal(detours.length, followers)
      assert.equal(new Set(detours.map(({ range }) => range?.split('-')[0])).size, 1)
      await house.settled()
      assert.deepEqual(await house.stored(), [])
      checkWhole(await house.get(digest))
      await disk.free()
      checkWhole(await house.get(digest))
      await house.settled()
      assert.deepEqual(await house.stored(), [hexOf(digest)])
    })
  }

  it('lets nobody complete what is wrong, nor its last bytes by a range', async (test) => {
    const disk = await mountTinyDisk(32 * MB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using house = await House.open({ path: disk.path })
    house.upstream.addBlob(repository, body)
    const gate = new Gate()
    house.upstream.fault(blobGet, { gate, gateAt: MB, times: 1 })
    house.upstream.fault(blobGet, { flipByteAt: MB })
    await disk.fill(2 * MB)
    const pulls = [house.get(digest), house.get(digest)]
    await gate.arrived()
    await house.followed(2, digest)
    gate.open()
    for (const { status, complete, closedBy } of await Promise.all(pulls)) {
      assert.deepEqual([status, complete, closedBy], [200, false, 'fin'])
    }
    assert.equal((await house.range(digest, '-1')).status, 503)
    await house.settled()
    house.upstream.clearFaults()
    checkWhole(await house.get(digest))
    checkPart(await house.range(digest, '-1'), size - 1, size - 1)
  })
})

/** A folder of the data folder that is a file: nothing can be made in it. */
async function block(house: House, ...path: string[]): Promise<() => Promise<void>> {
  const folder = join(house.mirror.path, ...path)
  await rm(folder, { recursive: true })
  await writeFile(folder, '')
  return async () => {
    await rm(folder)
    await mkdir(folder)
  }
}

describe('a store in which no spool can be made', () => {
  async function open(settings: HouseSettings & { linked?: boolean } = {}) {
    const house = await House.open(settings)
    house.upstream.addBlob(repository, body)
    if (settings.linked) await house.describe(digest, size)
    const repair = await block(house, 'ingest')
    return { house, repair, [Symbol.asyncDispose]: () => house[Symbol.asyncDispose]() }
  }

  for (const linked of [true, false]) {
    it(`passes everything through, ${linked ? 'linked' : 'unlinked'}, and keeps again when it can`, async () => {
      await using test = await open({ linked })
      const { house, repair } = test
      for (const got of await Promise.all([house.get(digest), house.get(digest)])) {
        checkWhole(got)
        assert.equal(got.headers['cache-status'], 'entrepot; fwd=bypass')
        assert.equal(got.headers['content-length'], String(size))
      }
      checkPart(await house.range(digest, '-5'), size - 5, size - 1)
      checkPart(await house.range(digest, '0-'), 0, size - 1)
      assert.equal((await house.range(digest, `${size}-`)).status, 416)
      assert.equal((await house.get(digest, { method: 'HEAD' })).status, 200)
      await repair()
      checkWhole(await house.get(digest))
      await house.settled()
      assert.deepEqual(await house.stored(), [hexOf(digest)])
    })
  }

  it('answers 404 for what is not there', async () => {
    await using test = await open()
    const absent = digestOf(Buffer.from('absent'))
    assert.equal((await test.house.get(absent)).status, 404)
    assert.equal((await test.house.range(absent, '0-5')).status, 404)
  })

  for (const { title, behaviour, linked, fate } of [
    { title: 'one byte another', behaviour: { flipByteAt: 99 }, linked: true, fate: 200 },
    { title: 'chunks that go on too long', behaviour: { chunked: true, extraBytes: 5 }, linked: true, fate: 200 },
    { title: 'chunks that end early', behaviour: { chunked: true, truncateTo: MB }, linked: true, fate: 200 },
    { title: 'chunks, one byte another', behaviour: { chunked: true, flipByteAt: 99 }, linked: false, fate: 200 },
    { title: 'a short body', behaviour: { truncateTo: MB }, linked: true, fate: 502 },
    { title: 'a long body', behaviour: { extraBytes: 5 }, linked: true, fate: 502 },
    { title: 'an empty body', behaviour: { truncateTo: 0 }, linked: false, fate: 502 },
  ] as const) {
    it(`lets no wrong body complete: ${title}`, async () => {
      await using test = await open({ linked })
      const { house } = test
      house.upstream.fault(blobGet, behaviour)
      const got = await house.get(digest)
      assert.deepEqual([got.status, got.complete], [fate, fate !== 200])
      if (fate === 200) assert.equal(got.closedBy, 'fin')
      // Whoever wants to go on where it was cut does not get what completes it.
      if (fate === 200) assert.equal((await house.range(digest, `${got.bytes}-`)).status, 503)
      await house.settled(digest)
      house.upstream.clearFaults()
      checkWhole(await house.get(digest))
      checkPart(await house.range(digest, '-5'), size - 5, size - 1)
    })
  }
})

describe('a store that cannot take a blob over', () => {
  it('serves it all the same, to all who follow, and leaves nothing behind', async () => {
    await using house = await House.open()
    house.upstream.addBlob(repository, body)
    const repair = await block(house, 'blobs', 'sha256')
    for (const got of await Promise.all([house.get(digest), house.get(digest)])) checkWhole(got)
    await house.settled()
    checkWhole(await house.get(digest))
    await house.settled()
    await repair()
    checkWhole(await house.get(digest))
    await house.settled()
    assert.deepEqual(await house.stored(), [hexOf(digest)])
    const ends = (await house.endedFills()).map(({ end }) => end)
    assert.deepEqual([...new Set(ends)], ['unwritable', 'stored'])
  })

  it('serves an empty blob', async () => {
    await using house = await House.open()
    const empty = house.upstream.addBlob(repository, Buffer.alloc(0))
    await block(house, 'blobs', 'sha256')
    const { status, complete, headers, digest: got } = await house.get(empty)
    assert.deepEqual([status, complete, headers['content-length'], got], [200, true, '0', empty])
  })
})
