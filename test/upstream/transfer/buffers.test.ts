import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Buffers } from '../../../src/upstream/transfer/buffers.ts'
import { receiveSize } from '../../../src/upstream/transfer/connector.ts'
import { randomBlob } from '../../support/image.ts'

const content = randomBlob(3 * receiveSize)

describe('Buffers', () => {
  it('have one size, or a smaller one for a body that is smaller', () => {
    for (const [length, size] of [
      [undefined, receiveSize],
      [receiveSize + 1, receiveSize],
      [receiveSize - 1, receiveSize - 1],
      [1, 1],
    ] as const) {
      assert.equal(new Buffers(length).keep(content.subarray(0, 1)).buffer.byteLength, size)
    }
  })

  it('keep bytes one after the other, whatever becomes of where they came from', () => {
    const buffers = new Buffers(undefined)
    const source = Buffer.from(content.subarray(0, 1000))
    const first = buffers.keep(source.subarray(0, 600))
    const second = buffers.keep(source.subarray(600))
    source.fill(0)
    assert.equal(first.buffer, second.buffer)
    assert.equal(first.byteOffset + first.length, second.byteOffset)
    assert.ok(Buffer.concat([first, second]).equals(content.subarray(0, 1000)))
  })

  it('take turns, and are two: one is filled while the reader has the other', () => {
    const buffers = new Buffers(undefined)
    const memory = new Set<ArrayBufferLike>()
    let read: Buffer | undefined
    for (let turn = 0; turn < 10; turn += 1) {
      const kept = buffers.keep(content.subarray(turn, turn + receiveSize))
      assert.ok(turn === 0 || read?.equals(content.subarray(turn - 1, turn - 1 + receiveSize)))
      buffers.turn()
      read = kept
      memory.add(kept.buffer)
    }
    assert.equal(memory.size, 2)
  })

  it('are one for a reader that gives back before more comes', () => {
    const buffers = new Buffers(undefined)
    const memory = new Set<ArrayBufferLike>()
    for (let turn = 0; turn < 10; turn += 1) {
      memory.add(buffers.keep(content.subarray(0, 1000)).buffer)
      for (const _ of [1, 2, 3]) buffers.turn()
    }
    assert.equal(memory.size, 1)
  })

  it('have room until they keep something, and again when it is taken, or void', () => {
    const buffers = new Buffers(undefined)
    assert.ok(buffers.hasRoom)
    buffers.keep(content.subarray(0, 1))
    assert.ok(!buffers.hasRoom)
    buffers.turn()
    assert.ok(buffers.hasRoom)
    buffers.keep(content.subarray(0, 1))
    buffers.restart()
    assert.ok(buffers.hasRoom)
    const all = buffers.keep(content.subarray(0, receiveSize))
    assert.equal(all.byteOffset, 0)
  })

  it('keep elsewhere what is too much', () => {
    const buffers = new Buffers(undefined)
    const source = Buffer.from(content)
    const first = buffers.keep(source.subarray(0, 1000))
    const second = buffers.keep(source.subarray(1000, 1000 + receiveSize))
    source.fill(0)
    assert.notEqual(first.buffer, second.buffer)
    assert.ok(Buffer.concat([first, second]).equals(content.subarray(0, 1000 + receiveSize)))
  })

  it('are no place to receive into', () => {
    assert.equal(new Buffers(undefined).room(), undefined)
  })
})
