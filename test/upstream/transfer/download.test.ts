import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Digest } from '../../../src/oci/digest.ts'
import { FetchPool } from '../../../src/upstream/transfer/fetch-pool.ts'
import type { BlobToFile, BodyFile } from '../../../src/upstream/upstream.ts'
import type { Behaviour } from '../../support/behaviour.ts'
import { type Fetches, watchFetches } from '../../support/fetches.ts'
import { Gate } from '../../support/gate.ts'
import { type TempDir, tempDir } from '../../support/temp.ts'
import { stayAlive } from '../../support/threads.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { until } from '../../support/wait.ts'
import { neverAborted, Subject, type SubjectOptions, warmFetches } from '../subject.ts'

stayAlive()

const KiB = 1024
const size = 2048 * KiB
const get = { kind: 'blob', method: 'GET', status: [200, 206] } as const

/** A file to write into, and who wrote. */
class Target implements AsyncDisposable {
  readonly path: string
  readonly file: BodyFile
  readonly #close: () => Promise<void>

  private constructor(path: string, file: BodyFile, close: () => Promise<void>) {
    this.path = path
    this.file = file
    this.#close = close
  }

  /** `flags` that do not let write make every write fail. */
  static async open(dir: string, refused: BodyFile['refused'] = fail, flags = 'w+'): Promise<Target> {
    const path = join(dir, 'target')
    if (flags === 'r') await (await open(path, 'w')).close()
    const handle = await open(path, flags)
    return new Target(path, { descriptor: handle.fd, offset: 0, refused }, () => handle.close())
  }

  async digest(): Promise<string> {
    return `sha256:${createHash('sha256')
      .update(await readFile(this.path))
      .digest('hex')}`
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}

async function fail(error: unknown): Promise<void> {
  throw error
}

async function draw(blob: BlobToFile | undefined, file: BodyFile): Promise<number> {
  let total = 0
  for await (const bytes of blob?.into(file) ?? assert.fail('absent')) total += bytes
  return total
}

for (const way of ['the event loop', 'a thread'] as const) {
  describe(`a body that ${way} writes into a file`, () => {
    let fetches: Fetches
    let threads: FetchPool
    let dir: TempDir
    before(async () => {
      fetches = watchFetches()
      threads = new FetchPool()
      dir = await tempDir()
      if (way === 'a thread') await warmFetches(threads, fetches)
    })
    after(async () => {
      await threads[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
      fetches[Symbol.dispose]()
    })

    function subjectOf(test: TestUpstream, options: SubjectOptions = {}): Subject {
      fetches.reset()
      return new Subject(test, { ...(way === 'a thread' && { threads }), ...options })
    }

    function wentThatWay(): void {
      assert.equal(fetches.all.length > 0, way === 'a thread')
    }

    const troubles: readonly { readonly name: string; readonly behaviours: readonly Behaviour[] }[] = [
      { name: 'nothing wrong with it', behaviours: [] },
      {
        name: 'cuts at any place',
        behaviours: [1, 131_071, 131_072, 131_073, 0, 99_999].map((cutAfter) => ({ cutAfter })),
      },
      { name: 'a reset', behaviours: [{ cutAfter: 300 * KiB, cut: 'rst' }] },
      { name: 'a cut in chunks', behaviours: [{ cutAfter: 300 * KiB, chunked: true }] },
      { name: 'a stall', behaviours: [{ stallAfter: 300 * KiB }] },
      { name: 'a length that is too long', behaviours: [{ truncateTo: 300 * KiB, contentLength: size }] },
      { name: 'no length', behaviours: [{ closeDelimited: true }] },
      { name: 'ranges that are ignored', behaviours: [{ cutAfter: 300 * KiB }, { ignoreRange: true }] },
      { name: 'single bytes that come slowly', behaviours: [{ cutAfter: size - 5 }, { bodyDelay: 5 }] },
    ]
    for (const { name, behaviours } of troubles) {
      it(`is whole, with ${name}`, async () => {
        await using test = await TestUpstream.start({ cdn: true })
        await using subject = subjectOf(test, { limits: name === 'a stall' ? { stall: 100 } : {} })
        await using target = await Target.open(dir.path)
        const digest = test.addSynthetic('a', size)
        for (const behaviour of behaviours) test.fault({ kind: 'cdn' }, { ...behaviour, times: 1 })
        const blob = await subject.download('a', digest, { start: 0, size: undefined }, neverAborted())
        assert.equal(await draw(blob, target.file), size)
        assert.equal(await target.digest(), digest)
        wentThatWay()
      })
    }

    it('goes on behind what the file has', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test)
      await using target = await Target.open(dir.path)
      const digest = test.addSynthetic('a', size)
      for (const start of [0, 700_001]) {
        const blob = await subject.download('a', digest, { start, size }, neverAborted())
        let total = 0
        for await (const bytes of blob?.into({ ...target.file, offset: start }) ?? []) {
          total += bytes
          if (start === 0 && total >= 700_001) break
        }
      }
      assert.equal(await target.digest(), digest)
      wentThatWay()
    })

    it('is never written beyond the end that its upstream told', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test)
      await using target = await Target.open(dir.path)
      const digest = test.addSynthetic('a', size)
      test.fault(get, { cutAfter: size - 10, times: 1 })
      test.fault(get, { extraBytes: 1000, chunked: true, times: 1 })
      const blob = await subject.download('a', digest, { start: 0, size }, neverAborted())
      await assert.rejects(draw(blob, target.file), { name: 'UpstreamError', kind: 'protocol' })
      assert.ok((await readFile(target.path)).length <= size)
    })

    it('asks again where a write is refused, and ends with what it is told', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test)
      let asked = 0
      const refused = async (error: unknown): Promise<void> => {
        assert.equal((error as NodeJS.ErrnoException).code, 'EBADF')
        asked += 1
        if (asked === 3) throw new Error('no more')
      }
      await using target = await Target.open(dir.path, refused, 'r')
      const blob = await subject.download('a', test.addSynthetic('a', size), { start: 0, size }, neverAborted())
      await assert.rejects(draw(blob, target.file), /no more/)
      assert.deepEqual([asked, test.count(get)], [3, 1])
      wentThatWay()
    })

    it('does not blame its upstream for the time that a write takes', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test, { limits: { stall: 50 } })
      const refused = async (): Promise<void> => {
        await new Promise((resolve) => setTimeout(resolve, 2000))
        throw new Error('no more')
      }
      await using target = await Target.open(dir.path, refused, 'r')
      const blob = await subject.download('a', test.addSynthetic('a', size), { start: 0, size }, neverAborted())
      await assert.rejects(draw(blob, target.file), /no more/)
      assert.equal(test.count(get), 1)
      wentThatWay()
    })

    for (const how of ['leaves', 'aborts'] as const) {
      it(`is touched no more when its reader ${how}, and its connection is broken`, async () => {
        await using test = await TestUpstream.start()
        await using subject = subjectOf(test)
        await using target = await Target.open(dir.path)
        const gate = new Gate()
        // What is left of it cannot have come before its reader is gone.
        test.fault(get, { gate, gateAt: 10 * size })
        const digest = test.addSynthetic('a', 20 * size)
        const leaver = new AbortController()
        const blob =
          (await subject.download('a', digest, { start: 0, size: 20 * size }, leaver.signal)) ?? assert.fail()
        const reading = async (): Promise<void> => {
          for await (const _ of blob.into(target.file)) {
            if (how === 'leaves') return
            leaver.abort(new Error('left'))
          }
        }
        if (how === 'leaves') await reading()
        else await assert.rejects(reading(), /left/)
        const there = await readFile(target.path)
        await until(() => test.count({ ...get, state: 'cut' }) === 1, 'the connection to be broken')
        gate.open()
        assert.ok((await readFile(target.path)).equals(there))
      })
    }

    it('need not be wanted after all', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test)
      const gate = new Gate()
      test.fault(get, { gate, gateAt: 1000 })
      const blob = await subject.download('a', test.addSynthetic('a', size), { start: 0, size }, neverAborted())
      blob?.close()
      await until(() => test.count({ ...get, state: 'cut' }) === 1, 'the connection to be broken')
      gate.open()
    })

    it('is not waited for beyond its time, before its head', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test, { limits: { headers: 50 } })
      const gate = new Gate()
      test.fault({ kind: 'blob' }, { gate })
      const blob = subject.download('a', test.addSynthetic('a', size), { start: 0, size }, neverAborted())
      await assert.rejects(blob, { name: 'UpstreamError', kind: 'timeout' })
      gate.open()
    })

    it('is not waited for by who leaves before its head', async () => {
      await using test = await TestUpstream.start()
      await using subject = subjectOf(test)
      const gate = new Gate()
      test.fault({ kind: 'blob' }, { gate })
      const leaver = new AbortController()
      const blob = subject.download('a', test.addSynthetic('a', size), { start: 0, size }, leaver.signal)
      await gate.arrived()
      leaver.abort(new Error('left'))
      await assert.rejects(blob, /left/)
      gate.open()
    })

    it('is absent where the upstream says so, and fails where nobody answers', async () => {
      const test = await TestUpstream.start()
      await using subject = subjectOf(test)
      const digest = `sha256:${'0'.repeat(64)}` as Digest
      test.addSynthetic('a', 10)
      assert.equal(await subject.download('a', digest, { start: 0, size }, neverAborted()), undefined)
      await test[Symbol.asyncDispose]()
      const blob = subject.download('a', digest, { start: 0, size }, neverAborted())
      await assert.rejects(blob, { name: 'UpstreamError', kind: 'unreachable' })
    })

    if (way === 'a thread') {
      it('uses a connection again after a redirect, and after a body', async () => {
        await using test = await TestUpstream.start({ cdn: true })
        await using subject = subjectOf(test)
        await using target = await Target.open(dir.path)
        for (let count = 0; count < 3; count += 1) {
          const digest = test.addSynthetic('a', size + count)
          await draw(await subject.download('a', digest, { start: 0, size: size + count }, neverAborted()), target.file)
        }
        assert.equal(fetches.all.length, 3)
        assert.deepEqual(test.connections, [1, 1])
      })

      it('goes on by the event loop where its thread dies', async () => {
        await using test = await TestUpstream.start()
        await using subject = subjectOf(test)
        await using target = await Target.open(dir.path)
        const digest = test.addSynthetic('a', size)
        const gate = new Gate()
        test.fault(get, { gate, gateAt: 300 * KiB, times: 1 })
        const blob = (await subject.download('a', digest, { start: 0, size }, neverAborted())) ?? assert.fail()
        let total = 0
        for await (const bytes of blob.into(target.file)) {
          if (total === 0) fetches.kill('fetch')
          total += bytes
        }
        gate.open()
        assert.equal(total, size)
        assert.equal(await target.digest(), digest)
        assert.deepEqual(
          fetches.all.map(({ end }) => end),
          ['died'],
        )
      })
    }
  })
}

/** Waits until a thread runs. */
