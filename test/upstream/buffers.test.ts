import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Buffers } from '../../src/upstream/buffers.ts'

const KiB = 1024

describe('Buffers', () => {
  it('have one size, or a larger one where that is wanted', () => {
    const buffers = new Buffers()
    const sizes = [1, 128 * KiB, 128 * KiB + 1]
    assert.deepEqual(
      sizes.map((size) => buffers.take(size).length / KiB),
      [128, 128, 128 + 1 / KiB],
    )
  })

  it('are used again, each by one at a time', () => {
    const buffers = new Buffers()
    const first = [buffers.take(128 * KiB), buffers.take(128 * KiB)]
    for (const buffer of first) buffers.giveBack(buffer)
    assert.equal(buffers.take(128 * KiB + 1).length, 128 * KiB + 1)
    const second = [buffers.take(1), buffers.take(1)]
    assert.deepEqual(new Set(second), new Set(first))
    assert.ok(!first.includes(buffers.take(1)))
  })

  it('are kept up to 8 MiB, and only what threads can see, of that size', () => {
    const buffers = new Buffers()
    for (let turn = 0; turn < 3; turn += 1) {
      const all = Array.from({ length: 100 }, () => buffers.take(128 * KiB))
      for (const buffer of all) buffers.giveBack(buffer)
      const again = Array.from({ length: 100 }, () => buffers.take(128 * KiB))
      const kept = again.filter((buffer) => all.includes(buffer))
      assert.equal(kept.length * 128 * KiB, 8 * 1024 * KiB)
      for (const buffer of kept) buffers.giveBack(buffer)
    }
    const other = new Buffers()
    const foreign = [Buffer.alloc(128 * KiB), other.take(700 * KiB)]
    for (const buffer of foreign) other.giveBack(buffer)
    assert.ok(!foreign.includes(other.take(128 * KiB)))
  })
})
