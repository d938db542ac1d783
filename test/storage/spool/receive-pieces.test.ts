import assert from 'node:assert/strict'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { patience, piece } from '../../../src/storage/spool/ring-memory.ts'
import { loadLibc } from '../../../src/threads/libc.ts'
import { ClockedReceiving } from '../../support/clocked.ts'
import { randomBlob } from '../../support/image.ts'
import { Receiver } from '../../support/receiver.ts'
import { leftIn, unreadPair } from '../../support/socket-pair.ts'
import { tempDir } from '../../support/temp.ts'
import { stayAlive } from '../../support/threads.ts'
import { until } from '../../support/wait.ts'

stayAlive()

const content = randomBlob(12 * piece)
const skip = loadLibc() ? false : 'recv(2) cannot be called here'
const never = 1_000_000_000
const [socketLevel, receiveBuffer] = [1, 8]
const hang = { timeout: 60_000 }

/** A file that has so many bytes, and a thread that receives more of them, whose time stands still. */
async function receiving(start = 0) {
  const dir = await tempDir()
  const path = join(dir.path, 'file')
  const handle = await open(path, 'wx+')
  await handle.write(content.subarray(0, start))
  const thread = new ClockedReceiving()
  const receiver = new Receiver(start)
  const pair = await unreadPair()
  const file = {
    receiver,
    pair,
    clock: thread.clock,
    read: () => readFile(path),
    receive: (length: number, stall = never) => thread.into(receiver, handle.fd, { socket: pair.fd, length, stall }),
    /** Resolves when the thread has done all that it was told before, and has received what there was. */
    async turn(): Promise<void> {
      await using other = await unreadPair()
      const marker = new Receiver()
      await other.theirs.write(Buffer.from('x'))
      await thread.into(marker, -1, { socket: other.fd, length: 1, stall: never }).ended
      marker.ring.close()
    },
    async [Symbol.asyncDispose]() {
      await thread[Symbol.asyncDispose]()
      await pair[Symbol.asyncDispose]()
      receiver.ring.close()
      await handle.close()
      await dir[Symbol.asyncDispose]()
    },
  }
  await file.turn()
  return file
}

describe('a thread that receives', { skip, ...hang }, () => {
  for (const start of [0, 1, 77_777, 2 * piece + 5]) {
    it(`passes on whole pieces of a file that has ${start} bytes, each written by one call, while more may come`, async () => {
      await using file = await receiving(start)
      const { receiver, clock, pair } = file
      const end = start + 800_000
      const whole = end - (end % piece)
      const { stop, ended } = file.receive(end - start + 1)
      for (let at = start; at < end; at += 50_000) {
        await pair.theirs.write(content.subarray(at, at + 50_000))
        const there = start + receiver.there
        assert.ok(there === start || there % piece === 0, `${there}`)
      }
      await until(() => start + receiver.there === whole, 'the whole pieces')
      await sleep(100)
      assert.equal(start + receiver.there, whole)
      for (const [index, { from, to }] of clock.writes.entries()) {
        assert.equal(from, index === 0 ? start : clock.writes[index - 1]?.to)
        assert.equal(to, from - (from % piece) + piece)
      }
      clock.pass(patience)
      await until(() => start + receiver.there === end, 'the rest')
      assert.ok(receiver.take().equals(content.subarray(start, end)))
      assert.equal(receiver.saved, end - start)
      assert.deepEqual(clock.writes.at(-1), { from: whole, to: end })
      stop()
      assert.equal((await ended).end, 'stopped')
      assert.ok((await file.read()).equals(content.subarray(0, end)))
    })
  }

  it('passes on what comes byte by byte, when it has waited for more, and calls it no silence', async () => {
    await using file = await receiving()
    const { receiver, clock, pair } = file
    const { stop, ended } = file.receive(content.length, 5 * patience)
    let isOver = false
    void ended.then(() => {
      isOver = true
    })
    for (let turn = 0; turn < 20; turn += 1) {
      await pair.theirs.write(content.subarray(turn, turn + 1))
      await file.turn()
      // Once it may hear of the byte only now, and then it waits for more.
      await until(() => {
        if (receiver.there <= turn) clock.pass(1)
        return receiver.there > turn
      }, 'a byte')
      assert.equal(receiver.there, turn + 1)
    }
    assert.ok(!isOver)
    stop()
    assert.equal((await ended).end, 'stopped')
    assert.ok(receiver.take().equals(content.subarray(0, 20)))
    assert.equal(receiver.saved, 20)
  })

  it('is not woken for less than the rest of a piece, before it has waited for that', async () => {
    await using file = await receiving()
    const { stop, ended } = file.receive(content.length)
    await file.turn()
    await file.pair.theirs.write(content.subarray(0, 1000))
    await file.turn()
    stop()
    assert.equal((await ended).end, 'stopped')
    assert.equal(file.receiver.there, 0)
    assert.ok((await leftIn(file.pair)).equals(content.subarray(0, 1000)))
  })

  it('does not wait longer because little by little more comes', async () => {
    await using file = await receiving()
    const { receiver, clock, pair } = file
    // So small that the kernel cannot but wake it up for less than a piece.
    loadLibc()?.setsockopt(pair.fd, socketLevel, receiveBuffer, Buffer.from(new Int32Array([16 * 1024]).buffer), 4)
    const { stop, ended } = file.receive(content.length)
    for (let turn = 0; turn < 5; turn += 1) {
      await pair.theirs.write(content.subarray(turn * 20_000, (turn + 1) * 20_000))
      await file.turn()
      await sleep(20)
      assert.equal(receiver.there, 0)
      clock.pass(patience / 5)
    }
    await until(() => receiver.there === 100_000, 'all of it')
    stop()
    await ended
  })

  it('waits for the rest of a piece again, after it has passed on what came late', async () => {
    await using file = await receiving()
    const { receiver, clock, pair } = file
    const { stop, ended } = file.receive(content.length)
    await pair.theirs.write(content.subarray(0, 1000))
    await file.turn()
    clock.pass(patience)
    await until(() => receiver.there === 1000, 'what came')
    await pair.theirs.write(content.subarray(1000, 50_000))
    await sleep(100)
    assert.equal(receiver.there, 1000)
    await pair.theirs.write(content.subarray(50_000, piece + 1000))
    await until(() => receiver.there === piece, 'the piece')
    await sleep(100)
    assert.equal(receiver.there, piece)
    assert.deepEqual(clock.writes.slice(0, 2), [
      { from: 0, to: 1000 },
      { from: 1000, to: piece },
    ])
    stop()
    await ended
  })

  for (const [how, leave, end, error] of [
    ['closes', ({ pair }) => void pair.theirs.socket.end(), 'closed', undefined],
    ['is reset', ({ pair }) => void pair.theirs.socket.resetAndDestroy(), 'failed', 104],
    ['is silent', ({ clock }) => clock.pass(patience / 2), 'stalled', undefined],
    ['is to be left alone', ({ stop }) => stop(), 'stopped', undefined],
  ] as readonly [
    string,
    (file: Awaited<ReturnType<typeof receiving>> & { stop: () => void }) => void,
    string,
    number | undefined,
  ][]) {
    for (const start of [0, 77_777]) {
      it(`passes on what it kept when the connection ${how}, behind ${start} bytes`, async () => {
        await using file = await receiving(start)
        const { receiver, pair } = file
        await pair.theirs.write(content.subarray(start, start + 1000))
        const { ended, stop } = file.receive(content.length, patience / 2)
        await file.turn()
        assert.equal(receiver.there, 0)
        leave({ ...file, stop })
        const answer = await ended
        assert.deepEqual([answer.end, answer.error], [end, error])
        assert.ok(receiver.take().equals(content.subarray(start, start + 1000)))
        assert.equal(receiver.saved, 1000)
        assert.deepEqual(file.clock.writes, [{ from: start, to: start + 1000 }])
        assert.ok((await file.read()).equals(content.subarray(0, start + 1000)))
      })
    }
  }

  it('waits for no more than what is wanted, and leaves what comes after that', async () => {
    for (const length of [1, 1000, piece, piece + 5, 3 * piece - 1]) {
      await using file = await receiving(5)
      const { ended } = file.receive(length)
      file.pair.theirs.send(content.subarray(5, length + 10))
      assert.equal((await ended).end, 'whole')
      assert.ok(file.receiver.take().equals(content.subarray(5, length + 5)))
      assert.equal(file.receiver.saved, length)
      assert.ok((await leftIn(file.pair)).equals(content.subarray(length + 5, length + 10)))
    }
  })
})
