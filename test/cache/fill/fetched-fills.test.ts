import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Digest, digestOf, hexOf } from '../../../src/oci/digest.ts'
import type { Behaviour } from '../../support/behaviour.ts'
import { open, type Received } from '../../support/client.ts'
import { type Fetches, watchFetches } from '../../support/fetches.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { start } from '../../support/program.ts'
import { tempDir } from '../../support/temp.ts'
import { started } from '../../support/threads.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { until } from '../../support/wait.ts'
import { type House, repository } from '../support/house.ts'
import { configure } from '../support/process.ts'
import { mountTinyDisk, type TinyDisk } from '../support/tiny-disk.ts'
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

async function receivedBytes({ mirror }: House): Promise<number> {
  return (await mirror.stats()).bytes.fromUpstream
}

/** Resolves when a thread fetches, and so many bytes have come. */
async function fetching(house: House, digest: Digest, at: number): Promise<void> {
  await until(() => fetches.running === 1, 'a thread to fetch')
  await until(async () => (await house.fills(digest))[0]?.written === at, `the first ${at} bytes`)
}

function isRight({ status, complete, digest }: Received, expected: Digest): void {
  assert.deepEqual([status, complete, digest], [200, true, expected])
}

function isCut({ status, complete, closedBy, bytes }: Received, whole = size): void {
  assert.deepEqual([status, complete, closedBy], [200, false, 'fin'])
  assert.ok(bytes < whole)
}

async function isStored(house: House, digest: Digest): Promise<boolean> {
  return (await house.stored()).includes(hexOf(digest))
}

/** So many clients at once, whose fill begins when all of them are there. */
async function pullTogether(house: House, digest: Digest, clients: number, fault: Behaviour = {}): Promise<Received[]> {
  const gate = new Gate()
  house.upstream.fault({ ...get, reference: digest }, { ...fault, gate, times: 1 })
  const pulls = Array.from({ length: clients }, () => house.get(digest))
  await house.followed(clients, digest)
  gate.open()
  return await Promise.all(pulls)
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
    for (const cutAfter of [0, 1, 1000, 65_536, 1_000_003, 6 * MB, size - 1]) {
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

    for (const more of [0, 1]) {
      it(`and that is cut by ${cut} when it has just begun, ${more} bytes later, goes on`, async () => {
        const { digest } = fresh(house)
        const gate = new Gate()
        house.upstream.fault(
          { ...get, reference: digest },
          {
            gate,
            gateAt: 10_000,
            cutAfter: 10_000 + more,
            cut,
            times: 1,
          },
        )
        const pulls = [house.get(digest), house.get(digest)]
        await fetching(house, digest, 10_000)
        gate.open()
        for (const got of await Promise.all(pulls)) isRight(got, digest)
        assert.deepEqual(
          fetches.all.map(({ end }) => end),
          ['failed', 'whole'],
        )
        const { range } = house.upstream.requests.at(-1) ?? {}
        assert.ok(range === `bytes=${10_000 + more}-` || (cut === 'rst' && range === 'bytes=10000-'), range)
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
      isCut(got)
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
      for (const got of await Promise.all(pulls)) isCut(got)
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
      await fetching(house, digest, at)
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
    await fetching(house, digest, 2 * MB)
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

describe('a body that a thread fetches, and that stalls,', () => {
  for (const stallAfter of [10_000, 1_500_000, size - 1]) {
    it(`after ${stallAfter} bytes, goes on`, async () => {
      await using house = await openWarm(fetches, { timeouts: { upstreamStall: '500ms' } })
      const { digest } = fresh(house)
      for (const got of await pullTogether(house, digest, 2, { stallAfter })) isRight(got, digest)
      assert.equal(house.upstream.requests.at(-1)?.range, `bytes=${stallAfter}-`)
      assert.equal(fetches.all[0]?.end, 'silent')
      assert.equal(house.upstream.count(get), 2)
      await until(() => house.upstream.count({ ...get, state: 'cut' }) === 1, 'the silent connection to be broken')
    })
  }
})

describe('a body that a thread fetches from elsewhere', () => {
  it('goes on though tokens and signatures expire', async () => {
    await using house = await openWarm(fetches, { upstream: { auth: { kind: 'bearer' }, cdn: true } })
    const { digest } = fresh(house)
    const cuts = [2 * MB, 2 * MB].map((at) => ({ at, gate: new Gate() }))
    const atCdn = { kind: 'cdn', method: 'GET' } as const
    for (const { at, gate } of cuts) {
      house.upstream.fault({ ...atCdn, reference: digest }, { gate, gateAt: at, cutAfter: at, times: 1 })
    }
    const pulls = [house.get(digest), house.get(digest)]
    for (const { gate } of cuts) {
      await gate.arrived()
      house.upstream.expireTokens()
      house.upstream.expireSignatures()
      gate.open()
    }
    for (const got of await Promise.all(pulls)) isRight(got, digest)
    assert.equal(house.upstream.bytes(atCdn), size)
    assert.deepEqual(
      fetches.all.map(({ end }) => end),
      ['failed', 'failed', 'whole'],
    )
  })

  it('goes on from another source where its own fails for good', async () => {
    const other = await TestUpstream.start()
    await using _other = other
    await using house = await openWarm(fetches, { others: { 'other.test': other } })
    const { digest, body } = fresh(house)
    other.addBlob(repository, body)
    const gate = new Gate()
    house.upstream.fault({ ...get, reference: digest }, { gate, gateAt: 3 * MB, cutAfter: 3 * MB, times: 1 })
    house.upstream.fault({ ...get, reference: digest }, { status: 500 })
    const first = house.get(digest)
    await fetching(house, digest, 3 * MB)
    const second = house.get(digest, {}, `other.test/${repository}`)
    await house.followed(2, digest)
    gate.open()
    isRight(await first, digest)
    isRight(await second, digest)
    assert.equal(other.bytes(get), size - 3 * MB)
    assert.equal(other.requests.at(-1)?.range, `bytes=${3 * MB}-`)
    assert.deepEqual(
      fetches.all.map(({ end }) => end),
      ['failed', 'whole'],
    )
  })
})

describe('a body that a thread fetches onto a disk that is full', () => {
  async function small(test: { skip(reason: string): void }): Promise<TinyDisk | undefined> {
    const disk = await mountTinyDisk(80 * MB)
    if (typeof disk !== 'string') return disk
    test.skip(disk)
    return undefined
  }

  it('comes once where room can be made', async (test) => {
    await using disk = await small(test)
    if (!disk) return
    await using house = await openWarm(fetches, { path: disk.path })
    // Enough to go.
    for (let count = 0; count < 3; count += 1) await house.get(fresh(house, 5 * MB).digest)
    await house.settled()
    house.upstream.reset()
    fetches.reset()
    const { digest } = fresh(house)
    const gate = new Gate()
    house.upstream.fault({ ...get, reference: digest }, { gate, gateAt: 2 * MB })
    const pulls = [house.get(digest), house.get(digest)]
    await fetching(house, digest, 2 * MB)
    await disk.fill(MB / 2)
    gate.open()
    for (const got of await Promise.all(pulls)) isRight(got, digest)
    await house.settled()
    // Nobody had to go on by themselves.
    assert.deepEqual([house.upstream.count(get), fetches.all.map(({ end }) => end)], [1, ['whole']])
    assert.ok((await house.mirror.stats()).evictions > 0)
    assert.equal((await house.endedFills()).at(-1)?.bytes, size)
  })

  for (const flipped of [false, true]) {
    const fate = flipped
      ? 'is not whole for who goes on from upstream, and gets wrong bytes there'
      : 'is right all the same'
    it(`${fate}, where no room can be made`, async (test) => {
      await using disk = await small(test)
      if (!disk) return
      await using house = await openWarm(fetches, { path: disk.path })
      const length = 60 * MB
      const { digest } = fresh(house, length)
      const gate = new Gate()
      house.upstream.fault({ ...get, reference: digest }, { gate, gateAt: 2 * MB, times: 1 })
      if (flipped) house.upstream.fault({ ...get, reference: digest }, { flipByteAt: 7 * MB })
      const pulls = [house.get(digest, { keep: 0 }), house.get(digest, { keep: 0 })]
      await fetching(house, digest, 2 * MB)
      await disk.fill(MB / 2)
      gate.open()
      for (const got of await Promise.all(pulls)) {
        if (flipped) isCut(got, length)
        else isRight(got, digest)
      }
      await house.settled()
      assert.equal(await isStored(house, digest), false)
      // The fill's, and one for each client.
      assert.equal(house.upstream.count(get), 3)
      assert.equal(fetches.all.length, 1)
      assert.equal(fetches.running, 0)
      assert.equal((await house.endedFills()).at(-1)?.end, 'unwritable')
      assert.equal(await openFiles(join(disk.path, 'ingest')), 0)
    })
  }
})

describe('a body whose threads die in the middle', () => {
  for (const { name, kinds } of [
    { name: 'that fetches', kinds: ['fetch'] },
    { name: 'that hashes', kinds: ['hash'] },
    { name: 'that fetches and the one that hashes', kinds: ['fetch', 'hash'] },
    { name: 'that hashes and the one that fetches', kinds: ['hash', 'fetch'] },
  ] as const) {
    for (const when of ['while nothing comes', 'while it comes'] as const) {
      it(`is right for everybody: the one ${name}, ${when}`, async () => {
        await using house = await openWarm(fetches)
        const length = 30 * MB
        const { digest } = fresh(house, length)
        const before = await receivedBytes(house)
        const gate = new Gate()
        house.upstream.fault({ ...get, reference: digest }, { gate, gateAt: 3 * MB, times: 1 })
        const pulls = [house.get(digest, { keep: 0 }), house.get(digest, { keep: 0 })]
        await fetching(house, digest, 3 * MB)
        if (when === 'while it comes') {
          gate.open()
          await until(() => fetches.bytes > 5 * MB, 'more of it')
        }
        const deaths = kinds.map((kind) => fetches.kill(kind)).reduce((sum, count) => sum + count)
        const died = (): number => house.mirror.log.filter(({ msg }) => String(msg).includes('thread has died')).length
        await until(() => died() === deaths, 'the threads to die')
        gate.open()
        for (const got of await Promise.all(pulls)) isRight(got, digest)
        await house.settled()
        assert.ok(await isStored(house, digest))
        isRight(await house.get(digest, { keep: 0 }), digest)
        assert.ok(house.upstream.count(get) <= 2, `${house.upstream.count(get)} requests`)
        assert.equal(await receivedBytes(house), before + length)
        // No other one is started soon.
        const next = fresh(house)
        isRight(await house.get(next.digest), next.digest)
        assert.ok(fetches.all.length <= 2)
        assert.equal(died(), deaths)
      })
    }
  }
})

describe('a mirror that stops while a thread fetches', () => {
  it('gives the body up, and ends its threads', async () => {
    using threads = started()
    await using house = await openWarm(fetches)
    const { digest, body } = fresh(house)
    const gate = new Gate()
    house.upstream.fault({ ...get, reference: digest }, { gate, gateAt: 3 * MB })
    await using reader = await house.open(digest)
    await fetching(house, digest, 3 * MB)
    const [ended] = (await house.endedFills()).slice(-1)
    assert.deepEqual([ended?.end, ended?.bytes], ['abandoned', 3 * MB])
    assert.deepEqual(
      fetches.all.map(({ end }) => end),
      ['stopped'],
    )
    await until(() => house.upstream.count({ ...get, state: 'cut' }) === 1, 'the connection to be broken')
    assert.ok((await reader.read(size)).equals(body.subarray(0, 3 * MB)))
    assert.deepEqual(await readdir(join(house.mirror.path, 'ingest')), [])
    assert.equal(await openFiles(house.mirror.path), 0)
    assert.ok(threads.threads.length >= 2)
    for (const { threadId } of threads.threads) assert.equal(threadId, -1)
  })

  it('is a process that ends', async () => {
    await using dir = await tempDir()
    await using upstream = await TestUpstream.start()
    const program = start(['serve', '--config', await configure(dir.path, upstream.url)])
    await using _program = program
    const { listen } = JSON.parse(await program.printed(/^.*"msg":"listening".*$/m)) as { listen: string }
    const url = (digest: Digest): string => `http://${listen}/v2/${repository}/blobs/${digest}`
    for (const gateAt of [5 * MB, 3 * MB]) {
      const digest = upstream.addBlob(repository, randomBlob(5 * MB, gateAt))
      const gate = new Gate()
      upstream.fault({ ...get, reference: digest }, { gate, gateAt })
      await using reader = await open(url(digest))
      await reader.read(3 * MB)
      if (gateAt === 5 * MB) gate.open()
    }
    program.child.kill('SIGTERM')
    assert.deepEqual([(await program.ended).status, (await program.ended).err], [0, ''])
  })
})
