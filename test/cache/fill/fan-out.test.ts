import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Reader } from '../../support/client.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { compare } from '../support/comparer.ts'
import { House, random, repository } from '../support/house.ts'

const blobGet = { kind: 'blob', method: 'GET' } as const

describe('one fill for all', () => {
  it('serves 32 clients that come during a cold download of 200 MB, for one upstream GET', async () => {
    await using house = await House.open()
    const size = 200 * 1000 * 1000
    const body = randomBlob(size)
    const digest = house.upstream.addBlob(repository, body)
    const pull = () => compare(house.url(digest), body)
    const clients = 32
    const dice = random(20_261_122)
    const moments = Array.from({ length: clients - 1 }, () => Math.floor(dice.next().value * size)).sort(
      (a, b) => a - b,
    )
    const gates = moments.map((at) => ({ at, gate: new Gate() }))
    house.upstream.fault(blobGet, { gates })

    const whole = [pull()]
    const others: Reader[] = []
    for (const [index, { at, gate }] of gates.entries()) {
      await gate.arrived()
      const late = pull()
      whole.push(late)
      // Now and then somebody comes who leaves half-way, or who never reads.
      if (index % 8 === 4) others.push(await leaveAfter(await house.open(digest), at / 2))
      if (index % 8 === 6) others.push(await house.open(digest))
      await late.answered
      gate.open()
    }
    for (const { compared } of whole) {
      assert.deepEqual(await compared, { status: 200, contentLength: size, bytes: size, same: true })
    }
    assert.ok(others.every(({ status }) => status === 200))
    assert.equal(house.upstream.count({ kind: 'blob' }), 1)
    assert.equal(house.upstream.bytes(), size)
    assert.deepEqual(await house.outcomes(), { miss: 1, collapsed: clients - 1 + others.length })

    for (const reader of others) reader.abort()
    await house.settled()
    const again = await house.get(digest, { keep: 0 })
    assert.deepEqual([again.digest, again.headers['cache-status']], [digest, 'entrepot; hit'])
    assert.equal((await house.outcomes())['hit'], 1)
    assert.equal(house.upstream.count({ kind: 'blob' }), 1)
  })
})

async function leaveAfter(reader: Reader, bytes: number): Promise<Reader> {
  for (let read = 0; read < bytes; ) read += (await reader.some())?.length ?? bytes
  reader.abort()
  return reader
}
