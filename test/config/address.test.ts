import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatAddress, isLoopback, parseAddress } from '../../src/config/address.ts'

const good: readonly (readonly [text: string, host: string, port: number, loopback: boolean])[] = [
  ['0.0.0.0:5000', '0.0.0.0', 5000, false],
  [':5000', '', 5000, false],
  ['[::]:5000', '::', 5000, false],
  ['[::1]:0', '::1', 0, true],
  ['127.0.0.1:5001', '127.0.0.1', 5001, true],
  ['127.8.9.1:1', '127.8.9.1', 1, true],
  ['localhost:65535', 'localhost', 65_535, true],
  ['mirror.example:5000', 'mirror.example', 5000, false],
  ['127.evil.example:80', '127.evil.example', 80, false],
  ['localhost.example:80', 'localhost.example', 80, false],
  ['10.1.2.3:443', '10.1.2.3', 443, false],
]

for (const [text, host, port, loopback] of good) {
  test(`${text} is an address${loopback ? ' of this machine alone' : ''}`, () => {
    assert.deepEqual(parseAddress(text), { host, port })
    assert.equal(isLoopback({ host, port }), loopback)
    assert.equal(formatAddress({ host, port }), text)
  })
}

for (const text of ['', '5000', 'host', 'host:', 'host:65536', 'host:-1', '::1:5000', '[nonsense]:1', '1.2.3.999:1']) {
  test(`${JSON.stringify(text)} is not an address`, () => {
    assert.equal(parseAddress(text), undefined)
  })
}

test('every address can be formatted and parsed again', () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.constant(''))
  fc.assert(
    fc.property(host, fc.nat(65_535), (host, port) => {
      assert.deepEqual(parseAddress(formatAddress({ host, port })), { host, port })
    }),
  )
})

test('no text makes the parser throw', () => {
  fc.assert(fc.property(fc.string(), (text) => void parseAddress(text)))
})
