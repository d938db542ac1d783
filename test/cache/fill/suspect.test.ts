import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { House, repository } from '../support/house.ts'

const size = 2 * 1024 * 1024
const body = randomBlob(size)
const digest = digestOf(body)
const blobGet = { kind: 'blob', method: 'GET' } as const

describe('a blob whose last download was damaged', () => {
  it('gives no range, so that nobody completes the body that was cut, until a whole download has verified', async () => {
    await using house = await House.open()
    house.upstream.addBlob(repository, body)
    await house.describe(digest, size)
    house.upstream.fault(blobGet, { flipByteAt: 1000 })
    const damaged = await house.get(digest)
    assert.deepEqual([damaged.status, damaged.complete, damaged.closedBy], [200, false, 'fin'])

    for (const range of [`${damaged.bytes}-`, '-1', '0-', '5-9']) {
      const refused = await house.range(digest, range)
      assert.deepEqual([range, refused.status], [range, 503])
      assert.ok(Number(refused.headers['retry-after']) > 0)
      assert.match(refused.text(), /UNAVAILABLE/)
    }
    // Each of them has set off a download of the whole, as damaged as the first.
    await house.settled()
    house.upstream.clearFaults()
    assert.equal((await house.get(digest)).digest, digest)
    assert.deepEqual((await house.range(digest, '-1')).body, body.subarray(-1))
  })

  it('mends when clients ask for nothing but ranges', async () => {
    await using house = await House.open()
    house.upstream.addBlob(repository, body)
    house.upstream.fault(blobGet, { flipByteAt: 1000, times: 1 })
    assert.equal((await house.get(digest)).complete, false)
    assert.equal((await house.range(digest, '5-9')).status, 503)
    await house.settled()
    assert.deepEqual(await house.stored(), [hexOf(digest)])
    assert.deepEqual((await house.range(digest, '5-9')).body, body.subarray(5, 10))
  })

  it('cuts those who follow a range to its end, and gives them none of the last byte', async () => {
    await using house = await House.open()
    house.upstream.addBlob(repository, body)
    await house.describe(digest, size)
    const gate = new Gate()
    house.upstream.fault(blobGet, { flipByteAt: 1000, gate, gateAt: size - 70_000 })
    const whole = house.get(digest)
    await gate.arrived()
    const tails = [house.range(digest, `${size - 80_000}-`), house.range(digest, '-80000')]
    await house.followed(3, digest)
    gate.open()
    for (const { status, complete, closedBy, bytes } of await Promise.all(tails)) {
      assert.deepEqual([status, complete, closedBy], [206, false, 'fin'])
      assert.ok(bytes < 80_000)
    }
    assert.equal((await whole).complete, false)
  })
})
