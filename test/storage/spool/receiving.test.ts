import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Received, Receiving } from '../../../src/storage/spool/receiving.ts'
import { loadLibc } from '../../../src/threads/libc.ts'
import type { ThreadDied } from '../../../src/threads/thread.ts'
import { mountTinyDisk } from '../../cache/support/tiny-disk.ts'
import { randomBlob } from '../../support/image.ts'
import { openEvents, openFiles, openSockets } from '../../support/open-files.ts'
import { Receiver, untilReceiving } from '../../support/receiver.ts'
import { sizes } from '../../support/rings.ts'
import { leftIn, type UnreadPair, unreadPair } from '../../support/socket-pair.ts'
import { tempDir } from '../../support/temp.ts'
import { stayAlive } from '../../support/threads.ts'
import { until } from '../../support/wait.ts'

stayAlive()

const KiB = 1024
const MiB = 1024 * KiB
const piece = 128 * KiB
/** More than a ring and a half. */
const content = randomBlob(Math.max(6 * MiB, 2 * sizes.large) + 5)
const skip = loadLibc() ? false : 'recv(2) cannot be called here'
/** Never, as far as a test is concerned: what waits for it hangs. */
const never = 3_600_000
const hang = { timeout: 120_000 }

/** Receiving with a thread that runs. */
async function started(onDeath?: (error: ThreadDied) => void): Promise<Receiving> {
  const receiving = Receiving.load(onDeath)
  assert.ok(receiving)
  await untilReceiving(receiving)
  return receiving
}

/** An empty file. */
async function emptyFile(folder?: string) {
  const dir = folder === undefined ? await tempDir() : undefined
  const path = join(folder ?? dir?.path ?? '', 'file')
  const handle = await open(path, 'w+')
  return {
    fd: handle.fd,
    path,
    read: () => readFile(path),
    async [Symbol.asyncDispose]() {
      await handle.close()
      await dir?.[Symbol.asyncDispose]()
    },
  }
}

function begun(received: Received | undefined): Received {
  assert.ok(received)
  return received
}

/** Whether it still waits after some time in which the thread has had its turns. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([work, sleep(300, 'waits')])) === 'waits'
}

describe('Receiving', { skip, ...hang }, () => {
  it('writes what comes, and puts it into the ring, saved and in order, and leaves what is not wanted', async () => {
    await using receiving = await started()
    for (const length of [1, piece - 1, piece, piece + 1, MiB - 1, MiB, MiB + 1, 3 * MiB + 7, content.length - 5]) {
      await using file = await emptyFile()
      await using pair = await unreadPair()
      const receiver = new Receiver()
      const { ended } = begun(receiver.receive(receiving, file.fd, { socket: pair.fd, length, stall: never }))
      const sent = pair.theirs.write(content.subarray(0, length + 5))
      assert.ok((await receiver.takeAll(length)).equals(content.subarray(0, length)), `${length}`)
      assert.equal(await ended, 'whole')
      assert.equal(receiver.saved, length)
      assert.equal(receiver.there, 0)
      assert.ok((await file.read()).equals(content.subarray(0, length)))
      await sent
      assert.ok((await leftIn(pair)).equals(content.subarray(length, length + 5)))
      receiver.ring.close()
    }
  })

  it('goes on behind what is in the file, and in the ring', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using pair = await unreadPair()
    const start = 200_001
    const receiver = new Receiver(start - 1000)
    await writeFile(file.path, content.subarray(0, start - 1000))
    // A thread would write this one.
    receiver.ring.put(content.subarray(start - 1000, start))
    const supply = { socket: pair.fd, length: 2 * MiB, stall: never }
    const { ended } = begun(receiver.receive(receiving, file.fd, supply))
    pair.theirs.send(content.subarray(start, start + 2 * MiB))
    const all = await receiver.takeAll(1000 + 2 * MiB)
    assert.ok(all.equals(content.subarray(start - 1000, start + 2 * MiB)))
    assert.equal(await ended, 'whole')
    assert.equal(receiver.saved, 2 * MiB)
    const there = await file.read()
    assert.ok(there.subarray(start).equals(content.subarray(start, start + 2 * MiB)))
    assert.ok(there.subarray(start - 1000, start).equals(Buffer.alloc(1000)))
    receiver.ring.close()
  })

  it('waits while there is no room, and goes on when there is', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using pair = await unreadPair()
    const receiver = new Receiver()
    const { length } = content
    const { ended } = begun(receiver.receive(receiving, file.fd, { socket: pair.fd, length, stall: never }))
    pair.theirs.send(content)
    // Less than a piece is left.
    const isFull = (): boolean => receiver.there > receiver.size - piece
    await until(isFull, 'the ring to be full')
    assert.ok(await waits(ended))
    assert.ok((await file.read()).length <= receiver.size)
    // Not before half of it is free.
    const first = receiver.take(receiver.there - receiver.size / 2 - 1)
    const there = receiver.there
    assert.ok(await waits(ended))
    assert.equal(receiver.there, there)
    const second = receiver.take(1)
    await until(isFull, 'the ring to be full again')
    const rest = await receiver.takeAll(length - first.length - 1)
    assert.ok(Buffer.concat([first, second, rest]).equals(content))
    assert.equal(await ended, 'whole')
    assert.ok((await file.read()).equals(content))
    receiver.ring.close()
  })

  it('loses no wake-up, however little is taken out at once', async () => {
    await using receiving = await started()
    for (const [index, at] of [1000, 65_537, piece, 3 * piece, MiB].entries()) {
      await using file = await emptyFile()
      await using pair = await unreadPair()
      const receiver = new Receiver()
      const { length } = content
      const { ended } = begun(receiver.receive(receiving, file.fd, { socket: pair.fd, length, stall: never }))
      pair.theirs.send(content)
      const chunks: Buffer[] = []
      for (let left = length; left > 0; ) {
        // As soon as it is there, or now and then.
        const bytes =
          index % 2 === 0
            ? receiver.take(at)
            : await until(() => (receiver.there > 0 ? receiver.take(at) : undefined), 'bytes')
        if (bytes.length === 0) await new Promise((resolve) => setImmediate(resolve))
        chunks.push(bytes)
        left -= bytes.length
      }
      assert.ok(Buffer.concat(chunks).equals(content))
      assert.equal(await ended, 'whole')
      receiver.ring.close()
    }
  })

  it('calls whoever empties the ring each time that there is more', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using pair = await unreadPair()
    const receiver = new Receiver()
    const { stop, ended } = begun(receiver.receive(receiving, file.fd, { socket: pair.fd, length: MiB, stall: never }))
    for (let count = 0; count < 20; count += 1) {
      const called = Atomics.load(receiver.calls, 0)
      // Where it is not woken it waits in vain.
      const { async, value } = Atomics.waitAsync(receiver.calls, 0, called, 20_000)
      await pair.theirs.write(content.subarray(0, 10))
      assert.equal(async ? await value : value, async ? 'ok' : 'not-equal')
      assert.equal(receiver.take().length, 10)
      assert.ok(Atomics.load(receiver.calls, 0) > called)
    }
    stop()
    await ended
    receiver.ring.close()
  })

  it('rests while nothing comes, and while there is no room', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using silent = await unreadPair()
    await using full = await unreadPair()
    const receivers = [new Receiver(), new Receiver()] as const
    const endless = 5 * sizes.large
    const all = [silent, full].map(({ fd }, index) =>
      begun(receivers[index as 0 | 1].receive(receiving, file.fd, { socket: fd, length: endless, stall: never })),
    )
    await silent.theirs.write(content.subarray(0, 10))
    full.theirs.send(Buffer.alloc(endless))
    await until(() => receivers[1].there > receivers[1].size - piece, 'the ring to be full')
    await until(() => receivers[0].there === 10, 'the bytes')
    const before = process.cpuUsage()
    await sleep(500)
    const { user, system } = process.cpuUsage(before)
    // Of all threads, in microseconds.
    assert.ok(user + system < 250_000, `${user + system}`)
    for (const { stop } of all) stop()
    for (const { ended } of all) assert.equal(await ended, 'stopped')
    for (const { ring } of receivers) ring.close()
  })

  for (const [how, leave, end] of [
    ['closes', (pair: UnreadPair) => void pair.theirs.socket.end(), 'closed'],
    ['resets', (pair: UnreadPair) => void pair.theirs.socket.resetAndDestroy(), { code: 'ECONNRESET' }],
  ] as const) {
    it(`tells of a side that ${how} its connection too early, and gives what came before`, async () => {
      await using receiving = await started()
      await using file = await emptyFile()
      const before = await openSockets()
      for (const length of [0, 1, piece, 700_000]) {
        await using pair = await unreadPair()
        const receiver = new Receiver()
        const { ended } = begun(
          receiver.receive(receiving, file.fd, { socket: pair.fd, length: length + 1, stall: never }),
        )
        await pair.theirs.write(content.subarray(0, length))
        const taken = await receiver.takeAll(length)
        leave(pair)
        assert.deepEqual(await ended, end)
        assert.ok(taken.equals(content.subarray(0, length)))
        assert.equal(receiver.there, 0)
        assert.ok((await file.read()).subarray(0, length).equals(content.subarray(0, length)))
        receiver.ring.close()
      }
      assert.equal(await openSockets(), before)
    })
  }

  it('gives all that came before a connection was closed, though there was no room for it', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using pair = await unreadPair()
    const receiver = new Receiver()
    const { ended } = begun(
      receiver.receive(receiving, file.fd, { socket: pair.fd, length: content.length + 1, stall: never }),
    )
    pair.theirs.socket.end(content)
    assert.ok(await waits(ended))
    assert.ok((await receiver.takeAll(content.length)).equals(content))
    assert.equal(await ended, 'closed')
    assert.ok((await file.read()).equals(content))
    receiver.ring.close()
  })

  it('tells of a side that is silent, from the start or later', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    for (const length of [0, 1000]) {
      await using pair = await unreadPair()
      const receiver = new Receiver()
      const { ended } = begun(receiver.receive(receiving, file.fd, { socket: pair.fd, length: MiB, stall: 1000 }))
      await pair.theirs.write(content.subarray(0, length))
      assert.equal(await ended, 'stalled')
      assert.ok(receiver.take().equals(content.subarray(0, length)))
      receiver.ring.close()
    }
  })

  it('does not call silent who sends a little now and then, nor while it is the ring that is full', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using slow = await unreadPair()
    await using full = await unreadPair()
    const receivers = [new Receiver(), new Receiver()] as const
    const stall = 1000
    const [slowly, fully] = [slow, full].map(({ fd }, index) =>
      begun(receivers[index as 0 | 1].receive(receiving, file.fd, { socket: fd, length: content.length, stall })),
    ) as [Received, Received]
    full.theirs.send(content)
    for (let turn = 0; turn < 15; turn += 1) {
      await slow.theirs.write(content.subarray(turn, turn + 1))
      await sleep(100)
    }
    assert.ok(await waits(Promise.race([slowly.ended, fully.ended])))
    assert.ok((await receivers[1].takeAll(content.length)).equals(content))
    assert.equal(await fully.ended, 'whole')
    assert.equal(await slowly.ended, 'stalled')
    assert.ok((await receivers[0].takeAll(15)).equals(content.subarray(0, 15)))
    for (const { ring } of receivers) ring.close()
  })

  for (const state of ['nothing has come', 'something has come', 'the ring is full'] as const) {
    it(`stops when it is told to, where ${state}, and leaves the rest in the connection`, async () => {
      await using receiving = await started()
      await using file = await emptyFile()
      await using pair = await unreadPair()
      const receiver = new Receiver()
      const { ended, stop } = begun(
        receiver.receive(receiving, file.fd, { socket: pair.fd, length: content.length, stall: never }),
      )
      const first = { 'nothing has come': 0, 'something has come': 1000, 'the ring is full': content.length }[state]
      pair.theirs.send(content.subarray(0, first))
      const enough = Math.min(first, receiver.size - piece + 1)
      await until(() => receiver.there >= enough, 'bytes')
      assert.ok(await waits(ended))
      stop()
      stop()
      assert.equal(await ended, 'stopped')
      stop()
      const got = receiver.take()
      pair.theirs.send(content.subarray(first))
      const left = await leftIn(pair)
      assert.equal(receiver.there, 0)
      assert.ok(Buffer.concat([got, left]).equals(content))
      assert.ok((await file.read()).equals(got))
      receiver.ring.close()
    })
  }

  it('stops only the one that was meant, though another one has its number', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using pair = await unreadPair()
    const receivers = [new Receiver(), new Receiver(10)] as const
    const over = begun(receivers[0].receive(receiving, file.fd, { socket: pair.fd, length: 10, stall: never }))
    await pair.theirs.write(content.subarray(0, 10))
    assert.equal(await over.ended, 'whole')
    const next = begun(receivers[1].receive(receiving, file.fd, { socket: pair.fd, length: 10, stall: never }))
    over.stop()
    assert.ok(await waits(next.ended))
    await pair.theirs.write(content.subarray(10, 20))
    assert.equal(await next.ended, 'whole')
    assert.ok((await file.read()).equals(content.subarray(0, 20)))
    for (const { ring } of receivers) ring.close()
  })

  it('goes on, and takes nothing from another one, though the connection ends meanwhile and its number is used again', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    await using pair = await unreadPair()
    const receiver = new Receiver()
    const { ended } = begun(receiver.receive(receiving, file.fd, { socket: pair.fd, length: MiB, stall: never }))
    await pair.theirs.write(content.subarray(0, 1000))
    pair.ours.destroy()
    await using other = await unreadPair()
    await other.theirs.write(Buffer.alloc(1000))
    await pair.theirs.write(content.subarray(1000, MiB))
    assert.ok((await receiver.takeAll(MiB)).equals(content.subarray(0, MiB)))
    assert.equal(await ended, 'whole')
    assert.ok((await leftIn(other)).equals(Buffer.alloc(1000)))
    receiver.ring.close()
  })

  it('serves many at once, each at its own pace, and is not held up by those that take or send nothing', async () => {
    await using receiving = await started()
    const sockets = await openSockets()
    {
      await using silent = await unreadPair()
      await using full = await unreadPair()
      await using nowhere = await emptyFile()
      const idle = [new Receiver(), new Receiver()] as const
      const waiting = [silent, full].map(({ fd }, index) =>
        begun(
          idle[index as 0 | 1].receive(receiving, nowhere.fd, { socket: fd, length: content.length, stall: never }),
        ),
      )
      full.theirs.send(content)
      await until(() => idle[1].there > idle[1].size - piece, 'the ring to be full')
      const one = async (index: number): Promise<void> => {
        await using file = await emptyFile()
        await using pair = await unreadPair()
        const receiver = new Receiver()
        const bytes = content.subarray(index * 1001, index * 1001 + MiB + index)
        const supply = { socket: pair.fd, length: bytes.length, stall: never }
        const { ended } = begun(receiver.receive(receiving, file.fd, supply))
        if (index % 2 === 0) pair.theirs.send(bytes)
        else
          for (let at = 0; at < bytes.length; at += 200_000) {
            await pair.theirs.write(bytes.subarray(at, at + 200_000))
            await sleep(1)
          }
        assert.ok((await receiver.takeAll(bytes.length)).equals(bytes), `number ${index}`)
        assert.equal(await ended, 'whole')
        assert.ok((await file.read()).equals(bytes), `number ${index}`)
        receiver.ring.close()
      }
      await Promise.all(Array.from({ length: 24 }, (_, index) => one(index)))
      for (const { stop } of waiting) stop()
      for (const { ended } of waiting) assert.equal(await ended, 'stopped')
      for (const { ring } of idle) ring.close()
    }
    assert.equal(await openSockets(), sockets)
  })

  for (const room of [0, 50_000]) {
    it(`says that nothing is saved after ${room} bytes filled the disk, and tries no more, though it could by then`, async (test) => {
      const disk = await mountTinyDisk(4 * MiB)
      if (typeof disk === 'string') return test.skip(disk)
      await using _disk = disk
      await using receiving = await started()
      await mkdir(disk.path)
      await using file = await emptyFile(disk.path)
      await disk.fill(room)
      await using pair = await unreadPair()
      const receiver = new Receiver()
      const supply = { socket: pair.fd, length: 3 * MiB, stall: never }
      const { ended } = begun(receiver.receive(receiving, file.fd, supply))
      await pair.theirs.write(content.subarray(0, 100_000))
      await until(() => receiver.there === 100_000, 'the bytes')
      const there = (await file.read()).length
      assert.ok(there < 100_000 && there > 0 === room > 0)
      await disk.free()
      pair.theirs.send(content.subarray(100_000, 3 * MiB))
      assert.ok((await receiver.takeAll(3 * MiB)).equals(content.subarray(0, 3 * MiB)))
      assert.equal(await ended, 'whole')
      assert.equal(receiver.saved, there)
      // The rest is somebody else's.
      assert.ok((await file.read()).equals(content.subarray(0, there)))
      receiver.ring.close()
    })
  }

  it('leaves all to be written where the file cannot be', async () => {
    await using receiving = await started()
    await using file = await emptyFile()
    const sealed = openSync(file.path, 'r')
    await using pair = await unreadPair()
    const receiver = new Receiver()
    const { ended } = begun(receiver.receive(receiving, sealed, { socket: pair.fd, length: MiB, stall: never }))
    pair.theirs.send(content.subarray(0, MiB))
    assert.ok((await receiver.takeAll(MiB)).equals(content.subarray(0, MiB)))
    assert.equal(await ended, 'whole')
    assert.equal(receiver.saved, 0)
    closeSync(sealed)
    assert.equal((await file.read()).length, 0)
    receiver.ring.close()
  })

  it('says what has failed where it is no connection, or none that is open', async () => {
    const deaths: ThreadDied[] = []
    await using receiving = await started((death) => deaths.push(death))
    await using file = await emptyFile()
    const receiver = new Receiver()
    const supply = { length: MiB, stall: never }
    assert.equal(receiver.receive(receiving, file.fd, { ...supply, socket: 999_999 }), undefined)
    const { ended } = begun(receiver.receive(receiving, file.fd, { ...supply, socket: file.fd }))
    assert.deepEqual(await ended, { code: 'ENOTSOCK' })
    assert.equal(await openFiles(file.path), 1)
    assert.deepEqual(deaths, [])
    receiver.ring.close()
  })

  it('has nothing open any more when it is disposed of, in the middle as well', async () => {
    await using file = await emptyFile()
    const [sockets, events] = [await openSockets(), await openEvents()]
    for (let round = 0; round < 3; round += 1) {
      await using pair = await unreadPair()
      const receiving = await started()
      const receiver = new Receiver()
      const supply = { socket: pair.fd, length: content.length, stall: never }
      const { ended } = begun(receiver.receive(receiving, file.fd, supply))
      pair.theirs.send(content)
      await until(() => receiver.there > 0, 'bytes')
      await Promise.all([receiving[Symbol.asyncDispose](), receiving[Symbol.asyncDispose]()])
      assert.equal(await ended, 'stopped')
      assert.equal(await openEvents(), events)
      assert.equal(receiver.receive(receiving, file.fd, supply), undefined)
      receiver.ring.close()
    }
    assert.equal(await openSockets(), sockets)
  })
})

describe('Receiving whose thread has died', { skip, ...hang }, () => {
  /** What the thread cannot call: it fails when there is something to be called for. */
  const poison = 'poison' as unknown as Int32Array<SharedArrayBuffer>

  it('has stopped, leaves all to others, and starts no other one for a minute', async (test) => {
    const deaths: ThreadDied[] = []
    await using file = await emptyFile()
    const [sockets, events] = [await openSockets(), await openEvents()]
    {
      await using receiving = await started((death) => deaths.push(death))
      {
        await using pairs = new AsyncDisposableStack()
        const [victim, other] = [pairs.use(await unreadPair()), pairs.use(await unreadPair())]
        const receiver = new Receiver()
        const supply = { length: content.length, stall: never }
        // Both at once, before a second thread runs.
        const stopped = begun(receiver.receive(receiving, file.fd, { ...supply, socket: other.fd }))
        const { ring } = new Receiver()
        const sink = { ring, calls: poison, file: -1, position: 0 }
        const dead = begun(receiving.into(sink, { ...supply, socket: victim.fd }))
        await other.theirs.write(content.subarray(0, 1000))
        await until(() => receiver.there === 1000, 'bytes')
        await victim.theirs.write(content.subarray(0, 1))
        assert.equal(await dead.ended, 'stopped')
        assert.equal(await stopped.ended, 'stopped')
        stopped.stop()
        assert.ok(receiver.take().equals(content.subarray(0, 1000)))
        // What is taken out rings a bell that is there.
        assert.equal(receiver.receive(receiving, file.fd, { ...supply, socket: other.fd }), undefined)
        receiver.ring.close()
        ring.close()
      }
      assert.equal(deaths.length, 1)
      assert.match(String(deaths[0]?.message), /receive-thread has died/)
      assert.equal(await openSockets(), sockets)
      // Of that thread its bell is never closed: somebody may just be about to ring it. Another thread may have been on its way.
      const now = performance.now()
      test.mock.method(performance, 'now', () => now + 60_000)
      await untilReceiving(receiving)
    }
    assert.equal(await openEvents(), events + 1)
    assert.equal(deaths.length, 1)
  })
})

describe('a process that receives', { skip, ...hang }, () => {
  /** Of a script, to which `receiver`, `received` and a `pair` are given. It is killed where it does not end. */
  async function outputOf(script: string): Promise<string> {
    await using dir = await tempDir()
    const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href)
    const path = join(dir.path, 'script.mjs')
    await writeFile(
      path,
      `import { openSync } from 'node:fs'
      import { Receiving } from ${url('../../../src/storage/spool/receiving.ts')}
      import { Receiver, untilReceiving } from ${url('../../support/receiver.ts')}
      import { unreadPair } from ${url('../../support/socket-pair.ts')}
      const receiving = Receiving.load()
      await untilReceiving(receiving)
      const pair = await unreadPair()
      const receiver = new Receiver()
      const file = openSync('file', 'w+')
      const received = receiver.receive(receiving, file, { socket: pair.fd, length: 1e6, stall: ${never} })
      await pair.theirs.write(Buffer.alloc(1000))
      await receiver.takeAll(1000)
      console.log('receiving')
      ${script}`,
    )
    const ended = await promisify(execFile)(process.execPath, [path], { cwd: dir.path, timeout: 30_000 })
    return ended.stdout.trim()
  }

  it('ends when it is told to, and when it has nothing else to do', async () => {
    assert.equal(await outputOf('setInterval(() => {}, 1000); process.exit(0)'), 'receiving')
    assert.equal(await outputOf('pair.ours.unref(); pair.theirs.socket.unref()'), 'receiving')
    assert.equal(
      await outputOf('received.stop(); console.log(await received.ended); process.exit(0)'),
      'receiving\nstopped',
    )
  })
})
