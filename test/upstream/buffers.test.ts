import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Buffers } from '../../src/upstream/buffers.ts'

const KiB = 1024
const MiB = 1024 * KiB

describe('Buffers', () => {
  it('come in three sizes, and beyond them as they are wanted', () => {
    const buffers = new Buffers()
    const sizes = [1, 128 * KiB, 128 * KiB + 1, 256 * KiB, 256 * KiB + 1, 512 * KiB, 512 * KiB + 1]
    assert.deepEqual(
      sizes.map((size) => buffers.take(size).length / KiB),
      [128, 128, 256, 256, 512, 512, 512 + 1 / KiB],
    )
  })

  it('are used again, each by one at a time', () => {
    const buffers = new Buffers()
    const first = [buffers.take(128 * KiB), buffers.take(128 * KiB), buffers.take(512 * KiB)]
    for (const buffer of first) buffers.giveBack(buffer)
    const second = [buffers.take(1), buffers.take(1), buffers.take(400 * KiB)]
    assert.deepEqual(new Set(second), new Set(first))
    assert.ok(!first.includes(buffers.take(1)))
  })

  it('are kept up to 32 MiB, and only what threads can see', () => {
    const buffers = new Buffers()
    for (let turn = 0; turn < 3; turn += 1) {
      const all = Array.from({ length: 100 }, () => buffers.take(512 * KiB))
      for (const buffer of all) buffers.giveBack(buffer)
      const again = Array.from({ length: 100 }, () => buffers.take(512 * KiB))
      const kept = again.filter((buffer) => all.includes(buffer))
      assert.equal(kept.length * 512 * KiB, 32 * MiB)
      for (const buffer of kept) buffers.giveBack(buffer)
    }
    const small = new Buffers()
    for (const size of [128 * KiB, 700 * KiB]) {
      const foreign = Buffer.alloc(size)
      small.giveBack(foreign)
      assert.notEqual(small.take(size), foreign)
    }
  })
})
