import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { House, repository } from '../cache/support/house.ts'
import { Gate } from '../support/gate.ts'
import { randomBlob } from '../support/image.ts'
import { tempDir } from '../support/temp.ts'

/** What went wrong with blobs in other mirrors, by their projects and the numbers of their issues. */

const size = 1_500_000
const body = randomBlob(size)
const blobGet = { kind: 'blob', method: 'GET' } as const

async function withBlob(timeouts: Record<string, string> = {}) {
  const house = await House.open({ timeouts })
  const digest = house.upstream.addBlob(repository, body)
  return { house, digest, [Symbol.asyncDispose]: () => house[Symbol.asyncDispose]() }
}

describe('distribution', () => {
  it('#2367: a truncated body is not a complete answer', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    house.upstream.fault(blobGet, { truncateTo: 1000 })
    const got = await house.get(digest)
    assert.deepEqual([got.status, got.complete, got.closedBy], [200, false, 'fin'])
    assert.deepEqual(await house.stored(), [])
  })

  it('#3969: concurrent pulls do not multiply downloads', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    const gate = new Gate()
    house.upstream.fault(blobGet, { gate })
    const pulls = Array.from({ length: 20 }, () => house.get(digest))
    await house.followed(pulls.length, digest)
    gate.open()
    for (const got of await Promise.all(pulls)) assert.equal(got.digest, digest)
    assert.equal(house.upstream.bytes(blobGet), size)
  })

  it('#4649: a client that leaves does not keep the blob from being cached', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    const gate = new Gate()
    house.upstream.fault(blobGet, { gate, gateAt: 1000 })
    const reader = await house.open(digest)
    await reader.read(1000)
    reader.abort()
    await house.followed(0, digest)
    gate.open()
    await house.settled()
    assert.equal((await house.stored()).length, 1)
  })

  it('#4667, harbor #23875: a range is honoured on a miss', async () => {
    await using test = await withBlob()
    const got = await test.house.range(test.digest, '1000000-1000009')
    assert.equal(got.status, 206)
    assert.deepEqual(got.body, body.subarray(1_000_000, 1_000_010))
  })

  it('#4478, zot #4357: what a killed process left half-written keeps nobody from pulling', async () => {
    await using dir = await tempDir()
    await using house = await House.open({ path: dir.path })
    const digest = house.upstream.addBlob(repository, body)
    await house.get(digest)
    await house.settled()
    await house.mirror.stop()
    await writeFile(join(dir.path, 'metadata.sqlite'), '{"truncat')
    await writeFile(join(dir.path, 'ingest', 'left-over'), body.subarray(0, 1000))
    await using next = await House.open({ path: dir.path })
    next.upstream.addBlob(repository, body)
    assert.equal((await next.get(digest)).digest, digest)
    assert.deepEqual(await next.spools(), [])
  })
})

describe('zot', () => {
  it('#4345: the first client of a blob leaves, and nobody after it hangs', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    const gate = new Gate()
    house.upstream.fault(blobGet, { gate })
    const leave = house.visit(digest)
    await gate.arrived()
    const next = house.get(digest)
    await house.followed(2, digest)
    leave()
    gate.open()
    assert.equal((await next).digest, digest)
  })

  it('#2416: the first byte does not wait for the last', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    const gates = [new Gate(), new Gate()].map((gate, index) => ({ gate, at: index * 1000 }))
    house.upstream.fault(blobGet, { gates })
    await using reader = await house.open(digest)
    assert.equal(reader.status, 200)
    gates[0]?.gate.open()
    assert.equal((await reader.read(1000)).length, 1000)
    gates[1]?.gate.open()
  })

  it('on-demand sync: an error of the first client is one to those who waited with it', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    const gate = new Gate()
    house.upstream.fault(blobGet, { gate, status: 404 })
    const pulls = [house.get(digest), house.get(digest), house.get(digest)]
    await house.followed(pulls.length, digest)
    gate.open()
    for (const got of await Promise.all(pulls)) assert.equal(got.status, 404)
  })
})

describe('harbor', () => {
  it('#22609: HEAD of a blob that is not cached finds it, and moves none of it', async () => {
    await using test = await withBlob()
    const { status, headers } = await test.house.get(test.digest, { method: 'HEAD' })
    assert.deepEqual([status, headers['content-length']], [200, String(size)])
    assert.equal(test.house.upstream.bytes(), 0)
  })

  it('#18294: an upstream that says nothing is not waited for without end', async () => {
    await using test = await withBlob({ upstreamHeaders: '1s' })
    test.house.upstream.hang()
    assert.equal((await test.house.get(test.digest)).status, 504)
  })
})

describe('angos, nora, Nexus', () => {
  it('an outage is not told as absence', async () => {
    await using test = await withBlob()
    await test.house.upstream.stop()
    for (const method of ['GET', 'HEAD']) {
      const got = await test.house.get(test.digest, { method })
      assert.deepEqual([method, got.status], [method, 503])
    }
  })
})

describe('oci-registry', () => {
  it('#19: a truncated blob does not stay', async () => {
    await using test = await withBlob()
    const { house, digest } = test
    house.upstream.fault(blobGet, { chunked: true, truncateTo: 1000, times: 1 })
    assert.equal((await house.get(digest)).complete, false)
    assert.equal((await house.get(digest)).digest, digest)
  })
})
