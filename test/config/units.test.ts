import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'

const sizes: readonly (readonly [string, number | undefined])[] = [
  ['0B', 0],
  ['512B', 512],
  ['1kB', 1000],
  ['1KiB', 1024],
  ['10MB', 10_000_000],
  ['8MiB', 8_388_608],
  ['50GiB', 53_687_091_200],
  ['2TB', 2_000_000_000_000],
  ['2TiB', 2_199_023_255_552],
  ['', undefined],
  ['10', undefined],
  ['GiB', undefined],
  ['10gib', undefined],
  ['10G', undefined],
  ['1.5GiB', undefined],
  ['-1GiB', undefined],
  ['1 GiB', undefined],
  ['1GiB ', undefined],
  ['1e3B', undefined],
  ['9999999TiB', undefined],
]

for (const [text, expected] of sizes) {
  test(`the size ${JSON.stringify(text)} is ${expected ?? 'refused'}`, () => {
    assert.equal(parseSize(text), expected)
  })
}

const durations: readonly (readonly [string, number | undefined])[] = [
  ['0s', 0],
  ['250ms', 250],
  ['5s', 5000],
  ['5m', 300_000],
  ['90m', 5_400_000],
  ['1h30m', 5_400_000],
  ['1d1ms', 86_400_001],
  ['30d', 2_592_000_000],
  ['', undefined],
  ['5', undefined],
  ['m', undefined],
  ['5M', undefined],
  ['5min', undefined],
  ['1.5h', undefined],
  ['-5m', undefined],
  ['30m1h', undefined],
  ['1h1h', undefined],
  ['1h 30m', undefined],
  ['9999999999d', undefined],
]

for (const [text, expected] of durations) {
  test(`the duration ${JSON.stringify(text)} is ${expected ?? 'refused'}`, () => {
    assert.equal(parseDuration(text), expected)
  })
}

test('every number of bytes can be formatted and parsed again', () => {
  fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes))
})

test('whole units are formatted as such', () => {
  assert.deepEqual([0, 1, 1000, 1024, 8_388_608, 53_687_091_200].map(formatSize), [
    '0B',
    '1B',
    '1kB',
    '1KiB',
    '8MiB',
    '50GiB',
  ])
})

test('every number of milliseconds can be formatted and parsed again', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (milliseconds) => parseDuration(formatDuration(milliseconds)) === milliseconds),
  )
})

test('a duration is the sum of its parts', () => {
  const part = fc.nat(999)
  fc.assert(
    fc.property(part, part, part, part, part, (d, h, m, s, ms) => {
      const sum = (((d * 24 + h) * 60 + m) * 60 + s) * 1000 + ms
      return parseDuration(`${d}d${h}h${m}m${s}s${ms}ms`) === sum
    }),
  )
})

test('no text makes the parsers throw, and what they accept is a whole number', () => {
  const wild = fc.oneof(fc.string(), fc.stringMatching(/^[0-9]{0,20}[a-zA-Z]{0,3}([0-9]{1,4}[dhms]{1,2}){0,3}$/))
  fc.assert(
    fc.property(wild, (text) => {
      for (const value of [parseSize(text), parseDuration(text)]) {
        assert.ok(value === undefined || (Number.isSafeInteger(value) && value >= 0))
      }
    }),
  )
})
