import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf } from '../../src/oci/digest.ts'
import { Intake } from '../../src/storage/intake.ts'
import { Offload } from '../../src/storage/offload.ts'
import type { SupplyEnd } from '../../src/storage/receiving.ts'
import { Ring } from '../../src/storage/ring.ts'
import { RingStart } from '../../src/storage/ring-ends.ts'
import { Spool } from '../../src/storage/spool.ts'
import { ThreadDied } from '../../src/storage/thread.ts'
import { randomBlob } from '../support/image.ts'
import { tempDir } from '../support/temp.ts'
import { block, started, stayAlive, warm } from '../support/threads.ts'

stayAlive()

/** What is received by nobody, and taken by one who answers when he is told to. */
function intake() {
  const memory = new Ring()
  memory.handOver(0)
  const ended = Promise.withResolvers<SupplyEnd>()
  const answer = Promise.withResolvers<void>()
  const asked: number[] = []
  const body = new Intake(
    { ended: ended.promise, stop: () => ended.resolve('stopped') },
    {
      memory,
      question: (until) => {
        asked.push(until)
        return { answered: answer.promise, change: (less) => void asked.push(less) }
      },
    },
  )
  return { memory, body, ended, answer, asked, put: (bytes: number) => new RingStart(memory.memory).put(bytes, 0) }
}

describe('Intake', () => {
  it('does not ask for more once no more comes, however long the answer takes', async () => {
    const { body, ended, answer, asked, put, memory } = intake()
    const counted: number[] = []
    const counting = (async () => {
      for await (const bytes of body) counted.push(bytes)
    })()
    put(5)
    await sleep(0)
    ended.resolve('whole')
    // Longer than it waits for what is worth telling.
    await sleep(50)
    assert.ok(asked.length >= 3)
    assert.deepEqual(
      asked.slice(1),
      asked.slice(1).map(() => 0),
    )
    answer.resolve()
    await counting
    assert.equal(
      counted.reduce((sum, bytes) => sum + bytes, 0),
      5,
    )
    assert.equal(body.end, 'whole')
    memory.close()
  })

  it('says that nobody takes any more, when it has stopped', async () => {
    const { body, answer, put, memory } = intake()
    put(5)
    const counted: number[] = []
    const counting = (async () => {
      for await (const bytes of body) {
        assert.equal(body.end, 'stopped')
        counted.push(bytes)
      }
    })()
    answer.reject(new ThreadDied('dead'))
    await counting
    // What was not counted is lost.
    assert.deepEqual(counted, [0])
    assert.equal(memory.backlog, 0)
    memory.close()
  })
})

describe('Spool, told of bytes that have come into its memory by themselves,', () => {
  for (const dies of [false, true]) {
    it(`has room for more when it has taken note of them, ${dies ? 'though its thread dies' : 'as late as that is'}`, async () => {
      using all = started()
      await using dir = await tempDir()
      await using offload = new Offload()
      await warm(offload.writing)
      const spool = await Spool.create(join(dir.path, 'spool'), { offload })
      const memory = (() => {
        spool.hashFor(digestOf(Buffer.alloc(0)))
        spool.expect(8 * 1024 * 1024)
        return spool.memory ?? assert.fail()
      })()
      await using blocker = await block(offload.writing, join(dir.path, 'blocker'))
      memory.handOver(0)
      const start = new RingStart(memory.memory)
      const bytes = randomBlob(memory.memory.bytes.byteLength)
      for (let at = 0; at < bytes.length; ) {
        const room = start.room(bytes.length - at) ?? assert.fail()
        at += bytes.copy(room, 0, at)
        start.put(room.length, 0)
      }
      const noting = spool.append(memory.count())
      memory.takeBack()
      assert.ok(!memory.hasRoom)
      if (dies) await all.threads[0]?.terminate()
      await noting
      assert.ok(memory.hasRoom)
      if (!dies) await blocker.over
      assert.equal(await spool.digest(), createHash('sha256').update(bytes).digest('hex'))
      await spool.close()
    })
  }
})
