import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Digest } from '../../../src/oci/digest.ts'
import { open } from '../../support/client.ts'
import { type Fetches, watchFetches } from '../../support/fetches.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { start } from '../../support/program.ts'
import { tempDir } from '../../support/temp.ts'
import { started } from '../../support/threads.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { until } from '../../support/wait.ts'
import { fetching, isCut, isRight, isStored, pullTogether, receivedBytes } from '../support/fetched.ts'
import { type House, repository } from '../support/house.ts'
import { configure } from '../support/process.ts'
import { mountTinyDisk, type TinyDisk } from '../support/tiny-disk.ts'
import { openWarm } from '../support/warm-house.ts'

/** Bodies that a thread fetches, and what may happen to the thread, its disk and its upstream. */

const MB = 1_000_000
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

describe('a body that a thread fetches, and that stalls,', () => {
  for (const stallAfter of [10_000, 1_500_000, size - 1]) {
    it(`after ${stallAfter} bytes, goes on`, async () => {
      await using house = await openWarm(fetches, { timeouts: { upstreamStall: '500ms' } })
      const { digest } = fresh(house)
      for (const got of await pullTogether(house, digest, 2, { stallAfter })) isRight(got, digest)
      assert.equal(house.upstream.requests.at(-1)?.range, `bytes=${stallAfter}-`)
      assert.equal(fetches.all[0]?.end, 'failed')
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
    await fetching(fetches, house, digest, 3 * MB)
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
    await fetching(fetches, house, digest, 2 * MB)
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
      await fetching(fetches, house, digest, 2 * MB)
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
        await fetching(fetches, house, digest, 3 * MB)
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
    await fetching(fetches, house, digest, 3 * MB)
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
