import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Held } from '../../../src/upstream/transfer/held.ts'
import { randomBlob } from '../../support/image.ts'

const KiB = 1024
const content = randomBlob(512 * KiB)

describe('Held', () => {
  it('holds rows as they grow and are used up, whatever comes after them in the memory they came in', () => {
    const lengths = fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.constantFrom(16 * KiB, 40 * KiB, 64 * KiB, 70 * KiB))
    const steps = fc.array(fc.record({ more: lengths, used: fc.double({ min: 0, max: 1, noNaN: true }) }), {
      maxLength: 30,
    })
    fc.assert(
      fc.property(steps, (all) => {
        const held = new Held()
        const shared = Buffer.alloc(128 * KiB)
        let row: Buffer | undefined
        let [from, to] = [0, 0]
        for (const { more, used } of all) {
          if (to + more > content.length) return
          const piece = shared.subarray(0, content.copy(shared, 0, to, to + more))
          to += more
          row = held.hold(row, piece)
          shared.fill(0)
          assert.ok(row.equals(content.subarray(from, to)))
          const length = Math.floor(row.length * used)
          from += length
          row = length === row.length ? undefined : row.subarray(length)
          if (!row) from = to
        }
      }),
    )
  })

  it('uses the same memory for one row after the other', () => {
    const held = new Held()
    const first = held.hold(undefined, content.subarray(0, 16 * KiB))
    for (let at = 0; at < content.length; at += 16 * KiB) {
      const row = held.hold(undefined, content.subarray(at, at + 16 * KiB))
      assert.equal(row.buffer, first.buffer)
      assert.equal(held.hold(row, content.subarray(0, 16 * KiB)).buffer, first.buffer)
    }
  })

  it('moves a row whose start was used up, where nothing more fits behind it', () => {
    const held = new Held()
    const row = held.hold(undefined, content.subarray(0, 64 * KiB)).subarray(1000)
    const longer = held.hold(row, content.subarray(64 * KiB, 64 * KiB + 1000))
    assert.equal(longer.buffer, row.buffer)
    assert.ok(longer.equals(content.subarray(1000, 64 * KiB + 1000)))
  })

  it('has new memory for a row that is longer than usual', () => {
    const held = new Held()
    const row = held.hold(undefined, content.subarray(0, 64 * KiB))
    const longer = held.hold(row, content.subarray(64 * KiB, 64 * KiB + 1))
    assert.ok(longer.equals(content.subarray(0, 64 * KiB + 1)))
    assert.notEqual(longer.buffer, row.buffer)
    const long = held.hold(undefined, content.subarray(0, 65 * KiB))
    assert.ok(long.equals(content.subarray(0, 65 * KiB)))
    assert.notEqual(long.buffer, content.buffer)
  })
})
