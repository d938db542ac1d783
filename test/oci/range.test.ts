import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { formatContentRange, parseContentRange, parseRange, resolveRange } from '../../src/oci/range.ts'

describe('parseRange', () => {
  const table: [string | undefined, ReturnType<typeof parseRange>][] = [
    [undefined, undefined],
    ['', undefined],
    ['bytes=0-', { kind: 'from', start: 0, end: undefined }],
    ['bytes=5-9', { kind: 'from', start: 5, end: 9 }],
    ['Bytes=5-9', { kind: 'from', start: 5, end: 9 }],
    ['bytes=-7', { kind: 'suffix', length: 7 }],
    ['bytes=0-1,5-6', { kind: 'multiple' }],
    ['bytes=0-1, -6', { kind: 'multiple' }],
    ['bytes=9-5', undefined],
    ['bytes=-', undefined],
    ['bytes=a-b', undefined],
    ['bytes=1-2-3', undefined],
    ['items=0-1', undefined],
    ['bytes=99999999999999999999-', undefined],
  ]
  for (const [header, expected] of table) {
    it(`reads ${JSON.stringify(header)}`, () => assert.deepEqual(parseRange(header), expected))
  }

  it('never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseRange(text)))
    fc.assert(fc.property(fc.string(), (text) => void parseRange(`bytes=${text}`)))
  })
})

describe('resolveRange', () => {
  it('clamps a range that reaches past the end, as regclient sends it', () => {
    assert.deepEqual(resolveRange({ kind: 'from', start: 5, end: 10 }, 10), { start: 5, end: 9 })
  })

  it('takes a suffix longer than the content as the whole content', () => {
    assert.deepEqual(resolveRange({ kind: 'suffix', length: 100 }, 10), { start: 0, end: 9 })
  })

  it('is empty at or past the end, for an empty suffix, and in empty content', () => {
    assert.equal(resolveRange({ kind: 'from', start: 10, end: undefined }, 10), undefined)
    assert.equal(resolveRange({ kind: 'suffix', length: 0 }, 10), undefined)
    assert.equal(resolveRange({ kind: 'suffix', length: 5 }, 0), undefined)
  })

  it('always stays inside', () => {
    fc.assert(
      fc.property(fc.nat(), fc.option(fc.nat(), { nil: undefined }), fc.nat(), (start, end, size) => {
        const range = resolveRange({ kind: 'from', start, end }, size)
        assert.ok(!range || (range.start === start && range.end >= start && range.end < size))
      }),
    )
  })
})

describe('parseContentRange', () => {
  it('parses what formatContentRange returns', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 1000 }), (start, length, rest) => {
        const range = { start, end: start + length }
        const size = range.end + rest
        assert.deepEqual(parseContentRange(formatContentRange(range, size)), { ...range, size })
      }),
    )
  })

  it('refuses anything but one satisfied range', () => {
    for (const text of [undefined, '', 'bytes */10', 'bytes 5-4/10', 'bytes 0-10/10', 'bytes 0-1', 'items 0-1/2']) {
      assert.equal(parseContentRange(text), undefined)
    }
    assert.deepEqual(parseContentRange('bytes 0-1/*'), { start: 0, end: 1, size: undefined })
  })

  it('never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseContentRange(text)))
  })
})
