import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { KeyInterner } from '../../../src/metadata/memory/key-interner.ts'

describe('KeyInterner', () => {
  it('makes each key once', () => {
    let made = 0
    const keys = new KeyInterner((repository, item) => {
      made += 1
      return `${repository}\n${item}`
    })
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual([keys.of('a', 'x'), keys.of('a', 'y'), keys.of('b', 'x')], ['a\nx', 'a\ny', 'b\nx'])
    }
    assert.deepEqual([made, keys.size], [3, 3])
  })

  it('keeps no more than its bound, and is right above it', () => {
    const keys = new KeyInterner((repository, item) => `${repository}\n${item}`)
    for (let n = 0; n < 50_000; n += 1) {
      assert.equal(keys.of(`r${n % 7}`, `${n}`), `r${n % 7}\n${n}`)
      assert.ok(keys.size <= 10_000)
    }
  })
})
