import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Gate } from '../../support/gate.ts'
import { House, repository } from '../support/house.ts'

/** More than the kernel takes for a client that does not read. */
const size = 40_000_000

describe('a client that takes no byte', () => {
  for (const state of ['cold', 'stored'] as const) {
    it(`is cut, and hurts nobody, of a ${state} blob`, async () => {
      await using house = await House.open({ timeouts: { client: '1s' } })
      const digest = house.upstream.addSynthetic(repository, size)
      const gate = new Gate()
      house.upstream.fault({ kind: 'blob' }, { gate, gateAt: size / 2 })
      if (state === 'stored') {
        gate.open()
        await house.get(digest, { keep: 0 })
        await house.settled()
      }
      await using idle = await house.open(digest)
      const whole = house.get(digest, { keep: 0 })
      gate.open()
      const { complete, digest: got } = await whole
      assert.deepEqual([complete, got], [true, digest])
      await house.cut(digest)
      // What is on its way still comes, and then the end of the connection.
      while (await idle.some());
      assert.equal(idle.complete, false)
      assert.equal(house.upstream.count({ kind: 'blob' }), 1)
      await house.settled()
      assert.equal((await house.get(digest, { keep: 0 })).headers['cache-status'], 'entrepot; hit')
    })
  }
})
