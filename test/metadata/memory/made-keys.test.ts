import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MadeKeys } from '../../../src/metadata/memory/made-keys.ts'

describe('MadeKeys', () => {
  it('makes each key once', () => {
    let made = 0
    const keys = new MadeKeys((repository, item) => {
      made += 1
      return `${repository}\n${item}`
    })
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual([keys.of('a', 'x'), keys.of('a', 'y'), keys.of('b', 'x')], ['a\nx', 'a\ny', 'b\nx'])
    }
    assert.deepEqual([made, keys.size], [3, 3])
  })

  it('remembers so many and no more, and is right beyond', () => {
    const keys = new MadeKeys((repository, item) => `${repository}\n${item}`)
    for (let n = 0; n < 50_000; n += 1) {
      assert.equal(keys.of(`r${n % 7}`, `${n}`), `r${n % 7}\n${n}`)
      assert.ok(keys.size <= 10_000)
    }
  })
})
