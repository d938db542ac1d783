import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { type Fetches, watchFetches } from '../../support/fetches.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { fetching, isCut, isRight, isStored, pullTogether, receivedBytes } from '../support/fetched.ts'
import { type House, repository } from '../support/house.ts'
import { openWarm } from '../support/warm-house.ts'

/** Bodies that a thread fetches: the event loop only counts their bytes. */

const MB = 1_000_000
/** What is written at once. */
const piece = 128 * 1024
/** From which on a thread fetches. */
const large = 1024 * 1024
const size = 9 * MB + 17
const get = { kind: 'blob', method: 'GET' } as const

let fetches: Fetches
let seed = 0

before(() => {
  fetches = watchFetches()
})
after(() => fetches[Symbol.dispose]())

function fresh(house: House, length = size): { digest: Digest; body: Buffer } {
  seed += 1
  const body = randomBlob(length, seed)
  return { digest: house.upstream.addBlob(repository, body), body }
}

describe('a body that a thread fetches', () => {
  let house: House
  before(async () => {
    // On a busy machine the upstream may be slow, too: it is of this process.
    house = await openWarm(fetches, { timeouts: { upstreamHeaders: '2m' } })
  })
  after(() => house[Symbol.asyncDispose]())
  afterEach(async () => {
    await house.settled()
    house.upstream.clearFaults()
    house.upstream.reset()
    fetches.reset()
  })

  for (const length of [large, 5 * MB, 40 * MB]) {
    it(`of ${length} bytes is the same for all of 30 clients, and comes once`, async () => {
      const { digest } = fresh(house, length)
      const before = await receivedBytes(house)
      for (const got of await pullTogether(house, digest, 30)) isRight(got, digest)
      await house.settled()
      assert.ok(await isStored(house, digest))
      assert.deepEqual([house.upstream.count(get), house.upstream.bytes(get)], [1, length])
      assert.deepEqual(
        fetches.all.map(({ end }) => end),
        ['whole'],
      )
      assert.equal(fetches.bytes, length)
      assert.equal(await receivedBytes(house), before + length)
      isRight(await house.get(digest), digest)
      assert.equal(house.upstream.count(get), 1)
    })
  }

  it('is right where there are many at once', async () => {
    const bodies = Array.from({ length: 10 }, (_, index) => fresh(house, 5 * MB + index * 40_001))
    const got = await Promise.all(bodies.flatMap(({ digest }) => [house.get(digest), house.get(digest)]))
    for (const [index, one] of got.entries()) isRight(one, bodies[index >> 1]?.digest ?? assert.fail())
    assert.equal(fetches.all.length, bodies.length)
    assert.equal(house.upstream.count(get), bodies.length)
  })

  it('is right in chunks, and where it ends with its connection', async () => {
    for (const fault of [{ chunked: true }, { closeDelimited: true }] as const) {
      const { digest } = fresh(house)
      for (const got of await pullTogether(house, digest, 2, fault)) isRight(got, digest)
    }
    assert.equal(fetches.all.length, 2)
  })

  it('is large, or of a size that nobody has told', async () => {
    for (const [length, isTold] of [
      [large - 1, true],
      [large - 1, false],
      [large, true],
    ] as const) {
      const { digest } = fresh(house, length)
      if (isTold) await house.describe(digest, length)
      fetches.reset()
      isRight(await house.get(digest), digest)
      assert.equal(fetches.all.length, isTold && length < large ? 0 : 1)
    }
  })

  for (const cut of ['fin', 'rst'] as const) {
    for (const cutAfter of [0, 1000, 1_000_003, size - 1]) {
      it(`and that is cut by ${cut} after ${cutAfter} bytes, goes on where it was cut`, async () => {
        const { digest } = fresh(house)
        const before = await receivedBytes(house)
        for (const got of await pullTogether(house, digest, 3, { cutAfter, cut })) isRight(got, digest)
        await house.settled()
        assert.ok(await isStored(house, digest))
        assert.equal(house.upstream.count(get), 2)
        assert.equal(await receivedBytes(house), before + size)
        const from = Number(/^bytes=(\d+)-$/.exec(house.upstream.requests.at(-1)?.range ?? 'bytes=0-')?.[1])
        // What a reset overtakes is lost.
        assert.ok(cut === 'fin' ? from === cutAfter : from <= cutAfter)
        assert.deepEqual(
          fetches.all.map(({ end }) => end),
          ['failed', 'whole'],
        )
      })
    }
  }

  it('and that is cut again and again, comes as often as it takes', async () => {
    const { digest } = fresh(house)
    house.upstream.fault({ ...get, reference: digest }, { cutAfter: 700_000 })
    isRight(await house.get(digest), digest)
    const requests = Math.ceil(size / 700_000)
    assert.equal(house.upstream.count(get), requests)
    assert.equal(house.upstream.bytes(get), size)
    assert.equal(fetches.all.length, requests)
  })

  it('and that is cut for good, is cut for everybody after what there was, and may be had later', async () => {
    const { digest, body } = fresh(house)
    house.upstream.fault({ ...get, reference: digest }, { cutAfter: 3 * MB, times: 1 })
    house.upstream.fault({ ...get, reference: digest }, { cutAfter: 0 })
    const pulls = await Promise.all([house.get(digest), house.get(digest)])
    for (const got of pulls) {
      isCut(got, size)
      assert.ok(got.body?.equals(body.subarray(0, 3 * MB)))
    }
    await house.settled()
    assert.equal(await isStored(house, digest), false)
    assert.equal(house.upstream.count({ ...get, reference: digest }), 6)
    house.upstream.clearFaults()
    isRight(await house.get(digest), digest)
  })

  for (const flipByteAt of [0, piece, 4 * MB, size - 1]) {
    it(`is refused where byte ${flipByteAt} is another: nobody gets the last one, and nothing is stored`, async () => {
      const { digest } = fresh(house)
      const gate = new Gate()
      house.upstream.fault({ ...get, reference: digest }, { flipByteAt, gate })
      const pulls = [house.get(digest), house.get(digest), house.get(digest)]
      await house.followed(pulls.length, digest)
      gate.open()
      for (const got of await Promise.all(pulls)) isCut(got, size)
      assert.equal(fetches.all.length, 1)
      assert.equal((await house.range(digest, '-1')).status, 503)
      await house.settled()
      assert.equal(await isStored(house, digest), false)
      assert.equal(await openFiles(join(house.mirror.path, 'ingest')), 0)
      house.upstream.clearFaults()
      isRight(await house.get(digest), digest)
      await house.settled()
      assert.ok(await isStored(house, digest))
    })
  }

  for (const { title, fault, status } of [
    { title: 'shorter, as its length says', fault: { truncateTo: size - 5 }, status: 502 },
    { title: 'longer, as its length says', fault: { extraBytes: 5 }, status: 502 },
    { title: 'shorter than its length says', fault: { contentLength: size + 5 }, status: 502 },
    { title: 'longer than its length says', fault: { contentLength: size - 5 }, status: 502 },
  ]) {
    for (const knowledge of ['told', 'not told'] as const) {
      it(`and that is ${title}, is never whole, where its size is ${knowledge}`, async () => {
        const { digest } = fresh(house)
        if (knowledge === 'told') await house.describe(digest, size)
        house.upstream.reset()
        const handle = house.upstream.fault({ ...get, reference: digest }, fault)
        for (const got of await Promise.all([house.get(digest), house.get(digest)])) {
          if (knowledge === 'told') assert.equal(got.status, status)
          else assert.deepEqual([got.status, got.complete], [200, false])
        }
        if (knowledge === 'not told') assert.equal(fetches.all.length, 1)
        await house.settled()
        assert.equal(await isStored(house, digest), false)
        handle.remove()
        isRight(await house.get(digest), digest)
      })
    }
  }

  it('is told of as it comes, however little that is', async () => {
    const { digest, body } = fresh(house)
    const before = await receivedBytes(house)
    const gates = [1_500_000, 1_500_001, 1_600_000].map((at) => ({ at, gate: new Gate() }))
    house.upstream.fault({ ...get, reference: digest }, { gates })
    await using reader = await house.open(digest)
    let read = 0
    for (const { at, gate } of gates) {
      await fetching(fetches, house, digest, at)
      // And so are clients, at once, and the metrics.
      assert.ok((await reader.read(at - read)).equals(body.subarray(read, at)))
      read = at
      assert.equal(await receivedBytes(house), before + at)
      gate.open()
    }
    assert.ok((await reader.read(size - read)).equals(body.subarray(read)))
    assert.equal(fetches.all.length, 1)
  })

  it('comes though all its clients have left, and is stored', async () => {
    const { digest } = fresh(house)
    const gate = new Gate()
    house.upstream.fault({ ...get, reference: digest }, { gate, gateAt: 2 * MB })
    const readers = [await house.open(digest), await house.open(digest)]
    await fetching(fetches, house, digest, 2 * MB)
    for (const reader of readers) reader.abort()
    await house.followed(0, digest)
    gate.open()
    await house.settled()
    assert.ok(await isStored(house, digest))
    assert.deepEqual([house.upstream.count(get), fetches.all.length], [1, 1])
  })

  it('waits for nobody: a client that does not read holds up neither it nor the others', async () => {
    const { digest } = fresh(house, 40 * MB)
    await using idle = await house.open(digest)
    isRight(await house.get(digest, { keep: 0 }), digest)
    await house.settled()
    assert.ok(await isStored(house, digest))
    assert.equal(digestOf(await idle.read(40 * MB)), digest)
    assert.equal(fetches.all.length, 1)
  })
})
