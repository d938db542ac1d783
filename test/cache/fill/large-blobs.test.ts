import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { hexOf } from '../../../src/oci/digest.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { until } from '../../support/wait.ts'
import { House, repository } from '../support/house.ts'

const size = 6_000_000
const blobGet = { kind: 'blob', method: 'GET' } as const

/** Files of fills and of stored blobs. */
async function filesOf({ mirror }: House): Promise<number> {
  return (await openFiles(join(mirror.path, 'ingest'))) + (await openFiles(join(mirror.path, 'blobs')))
}

describe('a blob so large that a thread writes it', () => {
  for (const { name, flipByteAt } of [
    { name: 'the first', flipByteAt: 0 },
    { name: 'one in the middle', flipByteAt: 4_000_000 },
    { name: 'the last', flipByteAt: size - 1 },
  ]) {
    it(`is refused where one byte is another: ${name}`, async () => {
      await using house = await House.open()
      const body = randomBlob(size)
      const digest = house.upstream.addBlob(repository, body)
      const gate = new Gate()
      house.upstream.fault(blobGet, { flipByteAt, gate, gateAt: 1_000_000 })
      const pulls = [house.get(digest), house.get(digest), house.get(digest)]
      await gate.arrived()
      await house.followed(pulls.length, digest)
      gate.open()
      for (const got of await Promise.all(pulls)) {
        assert.deepEqual([got.status, got.complete, got.closedBy], [200, false, 'fin'])
        assert.ok(got.bytes < size)
      }
      assert.equal((await house.range(digest, '-1')).status, 503)
      await house.settled()
      assert.deepEqual(await house.stored(), [])
      assert.equal(await filesOf(house), 0)

      house.upstream.clearFaults()
      assert.equal((await house.get(digest)).digest, digest)
      await house.settled()
      assert.deepEqual(await house.stored(), [hexOf(digest)])
      assert.equal((await house.get(digest)).digest, digest)
      assert.equal((await house.range(digest, '-1')).status, 206)
      await until(async () => (await filesOf(house)) === 0, 'the files to be closed')
      const ends = new Set((await house.endedFills()).map(({ end }) => end))
      assert.deepEqual(ends, new Set(['mismatch', 'stored']))
    })
  }

  it('leaves no file open where its fill is given up, fails, or is stopped with the mirror', async () => {
    await using house = await House.open({ limits: { unfollowedFills: 1 } })
    const fills = [2_000_000, 4_000_000].map((at, seed) => {
      const digest = house.upstream.addBlob(repository, randomBlob(size, seed))
      const gate = new Gate()
      house.upstream.fault({ ...blobGet, reference: digest }, { gate, gateAt: at })
      return { digest, gate, at }
    })
    for (const { digest, gate, at } of fills) {
      const reader = await house.open(digest)
      await gate.arrived()
      await until(async () => (await house.fills(digest))[0]?.written === at, 'the bytes before the gate')
      reader.abort()
      await until(async () => (await house.fills()).every(({ followers }) => followers === 0), 'the client to be gone')
    }
    // The less advanced is given up; of the other the file is open to be written.
    await until(async () => (await house.fills()).length === 1, 'one to be given up')
    await until(async () => (await filesOf(house)) === 1, 'its file to be closed')

    const broken = house.upstream.addBlob(repository, randomBlob(size, 3))
    house.upstream.fault({ ...blobGet, reference: broken, range: undefined }, { truncateTo: 3_000_000, chunked: true })
    await house.describe(broken, size)
    assert.equal((await house.get(broken)).complete, false)
    await house.settled(broken)
    await until(async () => (await filesOf(house)) === 1, 'its file to be closed')

    const ends = (await house.endedFills()).map(({ end }) => end)
    assert.equal(ends[0], 'abandoned')
    assert.equal(ends.includes('stored'), false)
    await until(async () => (await filesOf(house)) === 0, 'all files to be closed')
  })
})
