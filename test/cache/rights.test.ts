import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf, hexOf } from '../../src/oci/digest.ts'
import { Gate } from '../support/gate.ts'
import { randomBlob } from '../support/image.ts'
import { matches } from '../support/request-log.ts'
import { TestUpstream } from '../support/upstream.ts'
import { House } from './support/house.ts'

const size = 3_000_000
const body = randomBlob(size)
const digest = digestOf(body)
const [first, second] = ['team/first', 'team/second']

const getOf = (repository: string) => ({ kind: 'blob', method: 'GET', repository }) as const
const headOf = (repository: string) => ({ kind: 'blob', method: 'HEAD', repository }) as const

describe('a blob asked for through another repository', () => {
  it('during its fill is proven by one HEAD, and then joins the fill', async () => {
    await using house = await House.open()
    for (const name of [first, second]) house.upstream.addBlob(name, body)
    const gate = new Gate()
    house.upstream.fault(getOf(first), { gate, gateAt: 1_000_000 })
    const proof = new Gate()
    house.upstream.fault(headOf(second), { gate: proof })
    const filler = house.get(digest, {}, first)
    await gate.arrived()
    const others = Array.from({ length: 5 }, () => house.get(digest, {}, second))
    await proof.arrived()
    await house.followed(6, digest)
    proof.open()
    gate.open()
    for (const got of await Promise.all([filler, ...others])) {
      assert.deepEqual([got.status, got.complete, got.digest], [200, true, digest])
    }
    assert.equal(house.upstream.count(headOf(second)), 1)
    assert.equal(house.upstream.count({ kind: 'blob', method: 'GET' }), 1)
    assert.deepEqual(await house.outcomes(), { miss: 1, collapsed: 5 })
    await house.settled()
    await house.upstream.stop()
    assert.equal((await house.get(digest, {}, second)).headers['cache-status'], 'entrepot; hit')
  })

  it('that does not hold it is 404 before, during and after the fill', async () => {
    await using house = await House.open()
    house.upstream.addBlob(first, body)
    house.upstream.addBlob(second, Buffer.from('something else'))
    const gate = new Gate()
    house.upstream.fault(getOf(first), { gate, gateAt: 1_000_000 })
    assert.equal((await house.get(digest, {}, second)).status, 404)
    const filler = house.get(digest, {}, first)
    await gate.arrived()
    assert.equal((await house.get(digest, {}, second)).status, 404)
    assert.equal((await house.range(digest, '-5', second)).status, 404)
    gate.open()
    assert.equal((await filler).digest, digest)
    await house.settled()
    assert.equal((await house.get(digest, {}, second)).status, 404)
    assert.equal((await house.get(digest, { method: 'HEAD' }, second)).status, 404)
    assert.equal(house.upstream.count(getOf(first)), 1)
  })

  it('is 503 while its upstream is down, during the fill and once stored', async () => {
    await using other = await TestUpstream.start()
    other.addBlob(second, body)
    await other.stop()
    await using house = await House.open({ others: { 'other.test': other } })
    const elsewhere = `other.test/${second}`
    house.upstream.addBlob(first, body)
    const gate = new Gate()
    house.upstream.fault(getOf(first), { gate, gateAt: 1_000_000 })
    const filler = house.get(digest, {}, first)
    await gate.arrived()
    for (const state of ['filled', 'stored']) {
      for (const options of [{}, { headers: { range: 'bytes=5-9' } }, { method: 'HEAD' }]) {
        const refused = await house.get(digest, options, elsewhere)
        assert.deepEqual([state, refused.status], [state, 503])
        assert.ok(Number(refused.headers['retry-after']) > 0)
      }
      gate.open()
      assert.equal((await filler).digest, digest)
      await house.settled()
    }
    assert.equal((await house.get(digest, {}, first)).headers['cache-status'], 'entrepot; hit')
  })

  it('is not served from the other repository when its own upstream cannot prove it', async () => {
    await using other = await TestUpstream.start()
    other.addBlob(second, body)
    await using house = await House.open({ others: { 'other.test': other } })
    house.upstream.addBlob(first, body)
    await house.describe(digest, size, first)
    const gate = new Gate()
    other.fault({ kind: 'blob' }, { gate, instead: 'fin' })
    // The fill begins here, and this repository is not proven to hold the blob.
    const unproven = house.get(digest, {}, `other.test/${second}`)
    await gate.arrived()
    const proven = house.get(digest, {}, first)
    await house.followed(2, digest)
    gate.open()
    assert.equal((await proven).digest, digest)
    assert.equal((await unproven).status, 503)
    assert.equal(house.upstream.count(getOf(first)), 1)
  })

  it('as a blob is 404 where it is linked as a manifest only', async () => {
    await using house = await House.open()
    house.upstream.addBlob(first, body)
    await house.describe(digest, size, first)
    const manifest = house.upstream.requests.find(({ kind }) => kind === 'manifest')?.reference ?? ''
    for (const method of ['GET', 'HEAD']) {
      const refused = await house.get(manifest as typeof digest, { method }, first)
      assert.equal(refused.status, 404)
    }
    assert.equal(house.upstream.count({ kind: 'blob' }), 0)
  })
})

describe('a source', () => {
  it('that does not hold the blob fails its own requests only; the fill goes on from another source', async () => {
    await using house = await House.open()
    for (const name of [first, second]) house.upstream.addBlob(name, body)
    const gate = new Gate()
    house.upstream.fault(getOf(first), { gate, status: 404 })
    const refused = [house.get(digest, {}, first), house.get(digest, {}, first)]
    await gate.arrived()
    const served = house.get(digest, {}, second)
    await house.followed(3, digest)
    gate.open()
    for (const got of await Promise.all(refused)) assert.equal(got.status, 404)
    assert.equal((await served).digest, digest)
    assert.equal(house.upstream.count(headOf(second)), 1)
    assert.equal(house.upstream.count(getOf(second)), 1)
    assert.equal(house.upstream.count(getOf(first)), 1)
  })

  it('that fails for good during the body is replaced by another, and clients do not notice', async () => {
    await using house = await House.open()
    for (const name of [first, second]) house.upstream.addBlob(name, body)
    await house.describe(digest, size, second)
    const gate = new Gate()
    house.upstream.fault(getOf(first), { gate, gateAt: 1_000_000, cutAfter: 1_000_000, times: 1 })
    house.upstream.fault(getOf(first), { wrongContentRange: true })
    const pulls = [house.get(digest, {}, first)]
    await gate.arrived()
    pulls.push(house.get(digest, {}, second))
    await house.followed(2, digest)
    gate.open()
    for (const got of await Promise.all(pulls)) {
      assert.deepEqual([got.status, got.complete, got.digest], [200, true, digest])
    }
    const taken = house.upstream.requests.filter((request) => matches(getOf(second), request))
    assert.deepEqual(
      taken.map(({ range }) => range),
      ['bytes=1000000-'],
    )
    await house.settled()
    assert.deepEqual(await house.stored(), [hexOf(digest)])
  })

  it('that fails during the proof of another repository does not fail that one', async () => {
    await using house = await House.open()
    for (const name of [first, second]) house.upstream.addBlob(name, body)
    const [filling, proof] = [new Gate(), new Gate()]
    house.upstream.fault(getOf(first), { gate: filling, status: 404 })
    house.upstream.fault(headOf(second), { gate: proof })
    const refused = house.get(digest, {}, first)
    await filling.arrived()
    const served = house.get(digest, {}, second)
    await proof.arrived()
    filling.open()
    assert.equal((await refused).status, 404)
    await house.settled()
    proof.open()
    const got = await served
    assert.deepEqual([got.status, got.digest], [200, digest])
  })

  it('that completes the fill during the proof of another repository makes that one a hit', async () => {
    await using house = await House.open()
    for (const name of [first, second]) house.upstream.addBlob(name, body)
    const proof = new Gate()
    const filling = new Gate()
    house.upstream.fault(getOf(first), { gate: filling, gateAt: 1000 })
    house.upstream.fault(headOf(second), { gate: proof })
    const filler = house.get(digest, {}, first)
    await filling.arrived()
    const served = house.get(digest, {}, second)
    await proof.arrived()
    filling.open()
    assert.equal((await filler).digest, digest)
    await house.settled()
    proof.open()
    const got = await served
    assert.deepEqual([got.status, got.digest, got.headers['cache-status']], [200, digest, 'entrepot; hit'])
    assert.equal(house.upstream.count({ kind: 'blob', method: 'GET' }), 1)
  })
})
