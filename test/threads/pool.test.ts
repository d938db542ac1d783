import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import { IoThreads } from '../../src/storage/io-threads.ts'
import { HashPool } from '../../src/storage/spool/hash-pool.ts'
import { Spool } from '../../src/storage/spool/spool.ts'
import { ThreadPool, type ThreadPoolOptions } from '../../src/threads/pool.ts'
import { ThreadDied } from '../../src/threads/thread.ts'
import { randomBlob } from '../support/image.ts'
import { tempDir } from '../support/temp.ts'
import { started, stayAlive, warm } from '../support/threads.ts'
import { until } from '../support/wait.ts'

stayAlive()

const most = Math.min(availableParallelism(), 4)
const content = randomBlob(3 * 1024 * 1024 + 1)
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

class Worker {
  state: 'starting' | 'running' | 'dead' = 'starting'
  load = 0
  disposals = 0
  readonly #begun = Promise.withResolvers<void>()
  readonly begun = this.#begun.promise
  readonly #onDeath: (error: ThreadDied) => void

  constructor(onDeath: (error: ThreadDied) => void) {
    this.#onDeath = onDeath
  }

  run(load = 0): void {
    this.state = 'running'
    this.load = load
    this.#begun.resolve()
  }

  die(): void {
    this.state = 'dead'
    this.#begun.resolve()
    this.#onDeath(new ThreadDied('it has died'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposals += 1
  }
}

function poolOf(options: Partial<ThreadPoolOptions<Worker>> = {}) {
  const workers: Worker[] = []
  const start = (onDeath: (error: ThreadDied) => void): Worker => {
    const worker = new Worker(onDeath)
    workers.push(worker)
    return worker
  }
  return { pool: new ThreadPool({ start, ...options }), workers }
}

describe('ThreadPool', () => {
  it('has nobody at first, starts one, and waits until it runs', () => {
    const { pool: all, workers } = poolOf()
    assert.equal(workers.length, 0)
    for (let turn = 0; turn < 3; turn += 1) assert.equal(all.leastBusy(), undefined)
    assert.equal(workers.length, 1)
    workers[0]?.run()
    assert.equal(all.leastBusy(), workers[0])
    assert.equal(workers.length, 1)
  })

  it('gives the one with the least to do, and starts others one by one while all are busy', () => {
    const { pool: all, workers } = poolOf()
    all.leastBusy()
    for (let count = 1; count <= 6; count += 1) {
      const load = 10 - count
      workers.at(-1)?.run(load)
      assert.equal(all.leastBusy()?.load, load)
      // The next one is on its way, and no other.
      assert.equal(all.leastBusy()?.load, load)
      assert.equal(workers.length, Math.min(count + 1, most))
    }
    for (const [index, worker] of workers.entries()) worker.run(workers.length - index)
    assert.equal(all.leastBusy(), workers.at(-1))
    workers[0]?.run(0)
    assert.equal(all.leastBusy(), workers[0])
    assert.equal(workers.length, most)
  })

  it('starts nobody while one of them is idle', () => {
    const { pool: all, workers } = poolOf()
    all.leastBusy()
    workers[0]?.run(0)
    for (let turn = 0; turn < 3; turn += 1) assert.equal(all.leastBusy(), workers[0])
    assert.equal(workers.length, 1)
  })

  it('starts nobody for a minute after a death, and goes on with those who are left', (test) => {
    let now = 1_000_000
    test.mock.method(performance, 'now', () => now)
    const deaths: ThreadDied[] = []
    const { pool: all, workers } = poolOf({ onDeath: (error) => deaths.push(error) })
    all.leastBusy()
    workers[0]?.run(1)
    if (most > 1) {
      all.leastBusy()
      workers[1]?.run(1)
    }
    const left = workers[1]
    workers[0]?.die()
    assert.equal(deaths.length, 1)
    for (const later of [0, 59_999]) {
      now = 1_000_000 + later
      assert.equal(all.leastBusy(), left)
      assert.equal(workers.length, Math.min(most, 2))
    }
    assert.deepEqual([workers[0]?.disposals, deaths.length], [1, 1])
    now += 1
    assert.equal(all.leastBusy(), left)
    assert.equal(workers.length, Math.min(most, 2) + 1)
    workers.at(-1)?.run(0)
    assert.equal(all.leastBusy(), workers.at(-1))
  })

  it('waits as long after the death of one that never ran', () => {
    const deaths: ThreadDied[] = []
    const { pool: all, workers } = poolOf({ onDeath: (error) => deaths.push(error) })
    all.leastBusy()
    workers[0]?.die()
    for (let turn = 0; turn < 3; turn += 1) assert.equal(all.leastBusy(), undefined)
    assert.deepEqual([workers.length, deaths.length, workers[0]?.disposals], [1, 1, 1])
  })

  it('has nobody where the system has no thread to give, and asks it again the next time', () => {
    const workers: Worker[] = []
    let asked = 0
    const { pool: all } = poolOf({
      start: (onDeath) => {
        asked += 1
        if (asked < 3) throw new Error('EAGAIN')
        const worker = new Worker(onDeath)
        workers.push(worker)
        return worker
      },
    })
    for (let turn = 0; turn < 5; turn += 1) assert.equal(all.leastBusy(), undefined)
    assert.deepEqual([asked, workers.length], [3, 1])
    workers[0]?.run()
    assert.equal(all.leastBusy(), workers[0])
  })

  it('disposes of all it has started, whether they run or not', async () => {
    const { pool: all, workers } = poolOf()
    all.leastBusy()
    workers[0]?.run(1)
    all.leastBusy()
    await all[Symbol.asyncDispose]()
    assert.deepEqual(
      workers.map(({ disposals }) => disposals),
      workers.map(() => 1),
    )
    const { length } = workers
    assert.equal(all.leastBusy(), undefined)
    assert.equal(workers.length, length)
  })
})

describe('threads that hash', () => {
  it('are not missed where one dies by an error, which is reported once, with its cause', async () => {
    await using dir = await tempDir()
    using all = started()
    const deaths: ThreadDied[] = []
    await using ioThreads = new IoThreads((error) => deaths.push(error))
    await warm(ioThreads.hashing)
    const [first, ...others] = all.threads
    assert.ok(first)
    assert.deepEqual(others, [])

    const claimed = `sha256:${sha256(content)}` as Digest
    const spools = await Promise.all(
      ['one', 'two', 'three'].map((name) => Spool.create(join(dir.path, name), { ioThreads })),
    )
    for (const [index, spool] of spools.entries()) {
      spool.expect(content.length)
      spool.hashFor(claimed)
      if (index < 2) await spool.append(content.subarray(0, 1_500_000))
    }
    // What it cannot even answer with an error.
    first.postMessage(null)
    await new Promise((resolve) => first.once('exit', resolve))
    for (const [index, spool] of spools.entries()) {
      await spool.append(content.subarray(index < 2 ? 1_500_000 : 0))
      assert.equal(await spool.digest(), sha256(content))
      spool.release()
      assert.ok((await readFile(spool.path)).equals(content))
      await spool.close()
    }
    // The other one was started since the first was busy, and none since it died.
    assert.equal(all.threads.length, Math.min(most, 2))
    const [death, ...more] = deaths
    assert.deepEqual(more, [])
    assert.match(String(death), /^ThreadDied: the hash-thread has died$/)
    assert.ok(death?.cause instanceof TypeError)
  })

  it('that cannot even start are reported once, and work goes on', async (test) => {
    using all = started()
    const deaths: ThreadDied[] = []
    await using hashing = new HashPool((error) => deaths.push(error))
    assert.equal(hashing.open(1_000_000, 'sha256'), undefined)
    await (await until(() => all.threads[0], 'a thread')).terminate()
    for (let turn = 0; turn < 3; turn += 1) assert.equal(hashing.open(1_000_000, 'sha256'), undefined)
    assert.deepEqual([all.threads.length, deaths.length], [1, 1])
    // A minute later there is another.
    const later = performance.now() + 60_000
    test.mock.method(performance, 'now', () => later)
    await warm(hashing)
    assert.equal(all.threads.length, 2)
  })
})
