import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { hexOf } from '../../src/oci/digest.ts'
import { synthetic } from '../support/bytes.ts'
import type { Received } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { until } from '../support/wait.ts'
import { House, repository } from './support/house.ts'

const MB = 1_000_000
const size = 40 * MB
const seed = 3
const content = synthetic(size, seed)
const blobGet = { kind: 'blob', method: 'GET' } as const
/** The download of the whole, as opposed to ranges that are passed through. */
const wholeGet = { ...blobGet, range: undefined } as const

function checkPart(got: Received, start: number, end: number): void {
  assert.equal(got.status, 206)
  assert.equal(got.headers['content-range'], `bytes ${start}-${end}/${size}`)
  assert.equal(got.headers['content-length'], String(end + 1 - start))
  assert.ok(got.complete)
  assert.ok(got.body?.equals(content.slice(start, end + 1)))
}

/** A cold blob, of known size or not, whose download is held at an offset. */
async function coldBlob({ held = 0, linked = false }: { held?: number; linked?: boolean } = {}) {
  const house = await House.open()
  const digest = house.upstream.addSynthetic(repository, size, seed)
  if (linked) await house.describe(digest, size)
  const gate = new Gate()
  house.upstream.fault(wholeGet, { gate, gateAt: held })
  return { house, digest, gate, [Symbol.asyncDispose]: () => house[Symbol.asyncDispose]() }
}

describe('HEAD of a blob', () => {
  for (const linked of [false, true]) {
    it(`moves none of its bytes and tells all about it, ${linked ? 'linked' : 'unlinked'}`, async () => {
      await using cold = await coldBlob({ linked })
      const { house, digest } = cold
      for (let time = 0; time < 2; time += 1) {
        const { status, headers, bytes } = await house.get(digest, { method: 'HEAD' })
        assert.deepEqual([status, bytes], [200, 0])
        assert.equal(headers['content-length'], String(size))
        assert.equal(headers['content-type'], 'application/octet-stream')
        assert.equal(headers['docker-content-digest'], digest)
        assert.equal(headers['accept-ranges'], 'bytes')
      }
      assert.equal(house.upstream.count(blobGet), 0)
      assert.equal(house.upstream.bytes({ kind: 'blob' }), 0)
      assert.deepEqual(await house.fills(), [])
    })
  }
})

describe('a range of a cold blob', () => {
  for (const linked of [false, true]) {
    const how = linked ? 'linked' : 'unlinked'
    it(`at its end does not wait for the whole, ${how}`, async () => {
      await using cold = await coldBlob({ held: 65_536, linked })
      const { house, digest, gate } = cold
      checkPart(await house.range(digest, '-1000'), size - 1000, size - 1)
      checkPart(await house.range(digest, `${size - 1000}-`), size - 1000, size - 1)
      const passed = await house.range(digest, `${size - 1000}-${size - 2}`)
      checkPart(passed, size - 1000, size - 2)
      assert.equal(passed.headers['cache-status'], 'entrepot; fwd=bypass')
      // All the while one download of the whole goes on, for nobody yet.
      assert.equal(house.upstream.count(wholeGet), 1)
      assert.equal(house.upstream.count(blobGet), 4)
      gate.open()
      await house.settled()
      assert.deepEqual(await house.stored(), [hexOf(digest)])
      const hit = await house.range(digest, '-1000')
      checkPart(hit, size - 1000, size - 1)
      assert.equal(hit.headers['cache-status'], 'entrepot; hit')
      assert.equal(house.upstream.count(blobGet), 4)
    })
  }

  for (const [habit, behaviour] of [
    ['knows no ranges', { ignoreRange: true }],
    ['gives others than it is asked for', { wrongContentRange: true }],
  ] as const) {
    it(`waits for the whole where the upstream ${habit}`, async () => {
      await using cold = await coldBlob({ held: 65_536, linked: true })
      const { house, digest, gate } = cold
      house.upstream.fault((request) => request.method === 'GET' && request.range !== undefined, behaviour)
      const tail = house.range(digest, '-1000')
      await until(() => house.upstream.count(blobGet) === 2, 'the range to be tried by itself')
      gate.open()
      checkPart(await tail, size - 1000, size - 1)
      assert.equal(house.upstream.count(blobGet), 2)
    })
  }

  it('that the download has reached follows it', async () => {
    await using cold = await coldBlob({ held: 10 * MB })
    const { house, digest, gate } = cold
    await using first = await house.open(digest)
    await gate.arrived()
    await first.read(10 * MB)
    checkPart(await house.range(digest, `0-0`), 0, 0)
    checkPart(await house.range(digest, `${5 * MB}-${5 * MB + 999}`), 5 * MB, 5 * MB + 999)
    const [inside, rest] = [house.range(digest, `${9 * MB}-${11 * MB}`), house.range(digest, `${9 * MB}-`)]
    await house.followed(3, digest)
    gate.open()
    checkPart(await inside, 9 * MB, 11 * MB)
    const tail = await rest
    assert.deepEqual([tail.status, tail.complete, tail.bytes], [206, true, size - 9 * MB])
    assert.equal(house.upstream.count({ kind: 'blob' }), 1)
    assert.deepEqual(await house.outcomes(), { miss: 1, collapsed: 4 })
  })

  it('outside it is 416, and where the size is known costs the upstream nothing', async () => {
    await using cold = await coldBlob({ linked: true })
    const { house, digest, gate } = cold
    for (const range of [`${size}-`, `${size}-${size + 5}`, '-0']) {
      const refused = await house.range(digest, range)
      assert.deepEqual([range, refused.status], [range, 416])
      assert.equal(refused.headers['content-range'], `bytes */${size}`)
    }
    assert.equal(house.upstream.count({ kind: 'blob' }), 0)
    gate.open()
    assert.equal((await house.get(digest, { keep: 0 })).digest, digest)
    assert.equal((await house.range(digest, `${size}-`)).status, 416)
  })

  it('outside it is 416 where the size has to be asked for', async () => {
    await using cold = await coldBlob()
    const { house, digest } = cold
    const refused = await house.range(digest, `${size}-`)
    assert.deepEqual([refused.status, refused.headers['content-range']], [416, `bytes */${size}`])
  })

  it('is the whole blob where If-Range names another one', async () => {
    await using cold = await coldBlob({ linked: true })
    const { house, digest, gate } = cold
    gate.open()
    const ask = (condition: string) => {
      return house.get(digest, { headers: { range: 'bytes=5-9', 'if-range': condition }, readBytes: 10 })
    }
    for (const state of ['cold', 'stored']) {
      assert.deepEqual([state, (await ask('"another"')).status], [state, 200])
      assert.deepEqual([state, (await ask('Sun, 22 Nov 2026 00:00:00 GMT')).status], [state, 200])
      checkPart(await ask(`"${digest}"`), 5, 9)
      await house.settled()
    }
  })
})

describe('a pull in chunks', () => {
  it('by open-ended ranges that are closed early costs at most twice the blob, and caches it', async () => {
    await using house = await House.open()
    const large = 64 * MB
    const chunk = large / 8
    const noise = synthetic(large, seed)
    const digest = house.upstream.addSynthetic(repository, large, seed)
    await house.describe(digest, large)
    const gate = new Gate()
    house.upstream.fault(wholeGet, { gate, gateAt: MB })
    house.upstream.reset()

    const pulls = Array.from({ length: 8 }, async (_, index) => {
      await using reader = await house.open(digest, { headers: { range: `bytes=${index * chunk}-` } })
      assert.equal(reader.headers['content-range'], `bytes ${index * chunk}-${large - 1}/${large}`)
      return await reader.read(chunk)
    })
    // The first follows the download; the others do not wait for it.
    const others = await Promise.all(pulls.slice(1))
    gate.open()
    for (const [index, got] of [await pulls[0], ...others].entries()) {
      assert.ok(got?.equals(noise.slice(index * chunk, (index + 1) * chunk)))
    }
    await house.settled()
    assert.deepEqual(await house.stored(), [hexOf(digest)])
    assert.equal(house.upstream.count(wholeGet), 1)
    assert.equal(house.upstream.count(blobGet), 8)
    const inFlight = 7 * 10 * MB
    assert.ok(house.upstream.bytes({ kind: 'blob' }) <= 2 * large + inFlight)
  })
})
