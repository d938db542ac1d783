import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Freshness, freshness } from '../../src/cache/freshness.ts'

const now = Date.UTC(2026, 0, 1)
const policy = { ttl: 300, staleFor: 1000 }

const cases: readonly { readonly age: number; readonly is: Freshness; readonly why: string }[] = [
  { age: 0, is: 'fresh', why: 'checked just now' },
  { age: 299, is: 'fresh', why: 'within its time' },
  { age: 300, is: 'stale', why: 'at the end of its time' },
  { age: 1299, is: 'stale', why: 'within its time for staleness' },
  { age: 1300, is: 'expired', why: 'beyond both' },
  { age: -299, is: 'fresh', why: 'checked by a replica whose clock is a little ahead' },
  { age: -300, is: 'stale', why: 'checked by a clock that was wrong' },
  { age: -1e12, is: 'stale', why: 'checked by a clock that was very wrong' },
]

describe('freshness', () => {
  for (const { age, is, why } of cases) {
    it(`is ${is} ${why}`, () => assert.equal(freshness({ checkedAt: now - age }, now, policy), is))
  }

  it('is never fresh with a ttl of 0, and never stale with a staleFor of 0', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (age) => {
        const record = { checkedAt: now - age }
        assert.notEqual(freshness(record, now, { ttl: 0, staleFor: 1000 }), 'fresh')
        assert.notEqual(freshness(record, now, { ttl: 300, staleFor: 0 }), 'stale')
      }),
    )
  })
})
