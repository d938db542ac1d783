import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Thread, ThreadDied } from '../../src/threads/thread.ts'
import type { EchoAnswer, EchoRequest } from '../support/echo-thread.ts'
import { until } from '../support/wait.ts'

const hang = { timeout: 300_000 }

function echoThread(name = '../support/echo-thread') {
  const reported: ThreadDied[] = []
  const onDeath = (error: ThreadDied) => reported.push(error)
  return { reported, thread: new Thread<EchoRequest, EchoAnswer>({ name, beside: import.meta.url, onDeath }) }
}

/** Not before what has happened by now would have been told. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

describe('Thread', hang, () => {
  it('starts, and gives each request its answer', async () => {
    const { thread, reported } = echoThread()
    await using _thread = thread
    assert.equal(thread.state, 'starting')
    const answers = [3, 1, 2].map((id) => thread.ask({ id, kind: 'echo' }))
    assert.equal(thread.load, 3)
    assert.deepEqual(await Promise.all(answers), [{ id: 3 }, { id: 1 }, { id: 2 }])
    assert.deepEqual([thread.state, thread.load], ['running', 0])
    const unanswered = thread.ask({ id: 4, kind: 'ignore' })
    unanswered.catch(() => undefined)
    assert.deepEqual(await thread.ask({ id: 5, kind: 'echo' }), { id: 5 })
    assert.equal(thread.load, 1)
    assert.deepEqual(reported, [])
  })

  it('runs as soon as it says that it is ready, though nothing was asked', async () => {
    const { thread } = echoThread()
    await using _thread = thread
    await until(() => thread.state === 'running', 'the thread to run')
  })

  it('that throws is reported once, with what it threw, to those who wait too', async () => {
    const { thread, reported } = echoThread()
    await using _thread = thread
    const isDeath = (error: unknown): true => {
      assert.ok(error instanceof ThreadDied)
      assert.match(error.message, /echo-thread has died/)
      assert.match(String(error.cause), /thrown by 2/)
      return true
    }
    const waiting = [
      assert.rejects(thread.ask({ id: 1, kind: 'ignore' }), isDeath),
      assert.rejects(thread.ask({ id: 2, kind: 'throw' }), isDeath),
      assert.rejects(thread.ask({ id: 3, kind: 'echo' }), isDeath),
    ]
    await Promise.all(waiting)
    assert.deepEqual([thread.state, thread.load], ['dead', 0])
    await assert.rejects(thread.ask({ id: 4, kind: 'echo' }), isDeath)
    thread.post({ id: 5, kind: 'throw' })
    await turns()
    assert.equal(reported.length, 1)
    assert.ok(isDeath(reported[0]))
    assert.equal(thread.load, 0)
  })

  it('that ends by itself, or never ran, is dead as well', async () => {
    const ended = echoThread()
    await using _ended = ended.thread
    await assert.rejects(ended.thread.ask({ id: 1, kind: 'exit' }), ThreadDied)
    const absent = echoThread('../support/absent-thread')
    await using _absent = absent.thread
    await assert.rejects(absent.thread.ask({ id: 1, kind: 'echo' }), ThreadDied)
    assert.match(String(absent.reported[0]?.cause), /absent-thread/)
    assert.deepEqual([ended.reported.length, absent.reported.length], [1, 1])
  })

  it('that is disposed of has not died, whatever it does, and rejects those who wait', async () => {
    for (const kind of ['ignore', 'echo', 'throw'] as const) {
      const { thread, reported } = echoThread()
      if (kind === 'echo') await thread.ask({ id: 1, kind })
      const waiting = assert.rejects(thread.ask({ id: 2, kind: 'ignore' }), ThreadDied)
      thread.post({ id: 3, kind })
      await Promise.all([thread[Symbol.asyncDispose](), thread[Symbol.asyncDispose]()])
      await waiting
      assert.equal(thread.state, 'dead')
      await assert.rejects(thread.ask({ id: 4, kind: 'echo' }), ThreadDied)
      await thread[Symbol.asyncDispose]()
      await turns()
      assert.equal(reported.length, 0)
    }
  })
})
