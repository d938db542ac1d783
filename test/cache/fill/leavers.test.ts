import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Digest, hexOf } from '../../../src/oci/digest.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { until } from '../../support/wait.ts'
import { House, repository } from '../support/house.ts'

const size = 3_000_000

/** A blob whose download is held at an offset. */
function heldBlob({ upstream }: House, seed: number, at: number): { digest: Digest; gate: Gate; at: number } {
  const digest = upstream.addBlob(repository, randomBlob(size, seed))
  const gate = new Gate()
  upstream.fault({ kind: 'blob', method: 'GET', reference: digest }, { gate, gateAt: at })
  return { digest, gate, at }
}

describe('a fill whose clients leave', () => {
  it('goes on for those who stay', async () => {
    await using house = await House.open()
    const { digest, gate } = heldBlob(house, 1, 1_000_000)
    const leaver = await house.open(digest)
    const stays = house.get(digest)
    await house.followed(2, digest)
    leaver.abort()
    await house.followed(1, digest)
    gate.open()
    const { complete, digest: got } = await stays
    assert.deepEqual([complete, got], [true, digest])
    assert.equal(house.upstream.count({ kind: 'blob' }), 1)
  })

  it('goes on for nobody, and is stored', async () => {
    await using house = await House.open()
    const { digest, gate } = heldBlob(house, 1, 1_000_000)
    for (let client = 0; client < 5; client += 1) {
      const reader = await house.open(digest)
      await reader.read(1000)
      reader.abort()
    }
    await house.followed(0, digest)
    gate.open()
    await house.settled()
    assert.deepEqual(await house.stored(), [hexOf(digest)])
    assert.equal((await house.get(digest)).headers['cache-status'], 'entrepot; hit')
    assert.equal(house.upstream.count({ kind: 'blob', state: 'complete' }), 1)
    assert.equal(house.upstream.count({ kind: 'blob' }), 1)
  })

  it('is given up when too many run for nobody, the least advanced first', async () => {
    await using house = await House.open({ limits: { unfollowedFills: 2 } })
    const held = [2_000_000, 1_000_000, 500_000, 2_500_000].map((at, seed) => heldBlob(house, seed, at))
    for (const { digest, gate, at } of held) {
      const reader = await house.open(digest)
      await gate.arrived()
      await until(async () => (await house.fills(digest))[0]?.written === at, 'the bytes before the gate')
      reader.abort()
      await until(async () => (await house.fills()).every(({ followers }) => followers === 0), 'the client to be gone')
    }
    const [first, second, third, fourth] = held
    assert.deepEqual(
      new Set((await house.fills()).map(({ digest }) => digest)),
      new Set([first?.digest, fourth?.digest]),
    )
    await until(() => house.upstream.count({ kind: 'blob', state: 'cut' }) === 2, 'the upstream to be let go')
    for (const { gate } of held) gate.open()
    await house.settled()
    assert.deepEqual(new Set(await house.stored()), new Set([first, fourth].map((one) => one && hexOf(one.digest))))
    // Whoever wants it again gets it.
    for (const one of [second, third]) assert.equal(one && (await house.get(one.digest)).digest, one?.digest)
    const ends = (await house.endedFills()).map(({ end }) => end)
    assert.deepEqual(ends.sort(), ['abandoned', 'abandoned', 'stored', 'stored', 'stored', 'stored'])
  })

  it('counts as run for nobody though not a byte of it has come', async () => {
    await using house = await House.open({ limits: { unfollowedFills: 1 } })
    const [headers, body] = [new Gate(), new Gate()]
    house.upstream.fault({ kind: 'blob', method: 'GET' }, { gate: headers, gates: [{ at: 0, gate: body }] })
    const digests = [1, 2, 3, 4].map((seed) => house.upstream.addBlob(repository, randomBlob(size, seed)))
    const leave = digests.map((digest) => house.visit(digest))
    await headers.arrived(digests.length)
    for (const go of leave) go()
    headers.open()
    await body.arrived(digests.length)
    await until(async () => (await house.fills()).length === 1, 'all but one to be given up')
    body.open()
    await house.settled()
    assert.equal((await house.stored()).length, 1)
  })
})
