import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { KnownHeads } from '../../../src/http/fast/known-heads.ts'

describe('KnownHeads', () => {
  it('knows what it was told, by every byte of it', () => {
    const heads = new KnownHeads<number>({ entries: 10, bytes: 1e6 })
    heads.set('GET / a', 1, 0)
    heads.set('GET / b', 2, 0)
    heads.set('GET / a', 3, 0)
    assert.deepEqual(
      [heads.get('GET / a'), heads.get('GET / b'), heads.get('GET / '), heads.size],
      [3, 2, undefined, 2],
    )
  })

  it('keeps within so many entries, and keeps what is wanted', () => {
    const heads = new KnownHeads<number>({ entries: 100, bytes: 1e9 })
    heads.set('wanted', -1, 0)
    for (let n = 0; n < 10_000; n += 1) {
      heads.set(`head ${n}`, n, 0)
      assert.equal(heads.get('wanted'), -1)
      assert.ok(heads.size <= 101, `${heads.size} entries`)
    }
    assert.equal(heads.get('head 0'), undefined)
    assert.equal(heads.get('head 9999'), 9999)
  })

  it('keeps within so many bytes, of heads and of what belongs to them', () => {
    const heads = new KnownHeads<string>({ entries: 1e9, bytes: 2_000_000 })
    for (let n = 0; n < 1000; n += 1) {
      heads.set(`${n}`.padEnd(500, 'x'), '', 50_000)
      assert.ok(heads.size <= 40, `${heads.size} entries`)
    }
    for (let n = 0; n < 10_000; n += 1) heads.set(`${n}`.padEnd(1000, 'x'), '', 0)
    assert.ok(heads.size < 1000, `${heads.size} entries`)
  })

  it('counts what belongs to a head once, however often it is told anew', () => {
    const heads = new KnownHeads<number>({ entries: 100, bytes: 1_000_000 })
    heads.set('other', 0, 20_000)
    for (let n = 0; n < 1000; n += 1) heads.set('head', n, 20_000)
    assert.deepEqual([heads.get('other'), heads.get('head')], [0, 999])
  })

  it('does not keep what alone takes much of it, and forgets what has become so large', () => {
    const heads = new KnownHeads<number>({ entries: 100, bytes: 1_000_000 })
    heads.set('small', 1, 0)
    heads.set('large', 2, 40_000)
    assert.deepEqual([heads.get('large'), heads.get('small')], [undefined, 1])
    heads.set('small', 3, 40_000)
    assert.equal(heads.get('small'), undefined)
  })
})
