import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { type FileHandle, open, truncate, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Moved, nothingMoved } from '../../../src/storage/body-reader.ts'
import {
  type SendfileJob,
  SendfilePool,
  type SendfilePoolOptions,
} from '../../../src/storage/sendfile/sendfile-pool.ts'
import { loadLibc } from '../../../src/threads/libc.ts'
import type { ThreadDied } from '../../../src/threads/thread.ts'
import { mountTinyDisk } from '../../cache/support/tiny-disk.ts'
import { isCorked } from '../../support/corked.ts'
import { randomBlob } from '../../support/image.ts'
import { untilMoving } from '../../support/moving.ts'
import { openEvents, openSockets } from '../../support/open-files.ts'
import { dropFromMemory } from '../../support/page-cache.ts'
import { connectPair, type End, pairServer, type SocketPair, socketPair } from '../../support/socket-pair.ts'
import { tempDir } from '../../support/temp.ts'
import { until } from '../../support/wait.ts'

const KiB = 1024
const MiB = 1024 * KiB
/** What is worth a thread's trouble. */
const least = 64 * KiB
const content = randomBlob(6 * MiB + 5)
const libc = loadLibc()
const skip = libc ? false : 'sendfile(2) cannot be called here'
/** Never, as far as a test is concerned: what waits for it hangs. */
const never = 3_600_000
const hang = { timeout: 300_000 }

/** Sending with a thread that runs. */
async function started(options: SendfilePoolOptions = {}): Promise<SendfilePool> {
  const sending = SendfilePool.load({ idle: never, ...options })
  assert.ok(sending)
  await untilMoving(sending)
  return sending
}

/** The content, once or several times over. */
async function contentFile({ times = 1, flags = 'r' } = {}) {
  const dir = await tempDir()
  const path = join(dir.path, 'content')
  const bytes = Buffer.concat(Array.from({ length: times }, () => content))
  await writeFile(path, bytes)
  const file = await open(path, flags)
  return {
    fd: file.fd,
    sync: () => file.sync(),
    path,
    folder: dir.path,
    bytes,
    length: bytes.length,
    async [Symbol.asyncDispose]() {
      await file.close()
      await dir[Symbol.asyncDispose]()
    },
  }
}

/** More than the kernel takes for a client that does not read. */
const large = { times: 8 }

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Reads a little now and then. */
async function inTurns(end: End, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let left = length; left > 0; left -= chunks.at(-1)?.length ?? left) {
    chunks.push(await end.receive(Math.min(MiB, left)))
    await sleep(20)
  }
  return Buffer.concat(chunks)
}

/** Whether it still waits after some time in which the thread has had its turns. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([work, sleep(250, 'waits')])) === 'waits'
}

/** Without why it was no more. */
async function counted(moved: SendfileJob['moved']): Promise<Moved> {
  const { bytes, full } = await moved
  return { bytes, full }
}

describe('SendfilePool', { skip, ...hang }, () => {
  it('moves the span that was asked for, from any position', async () => {
    await using sending = await started()
    await using file = await contentFile()
    await using pair = await socketPair()
    for (const [position, length] of [
      [0, least],
      [1, least + 1],
      [4095, MiB],
      [4097, MiB + 1],
      [file.length - least, least],
      [0, file.length],
      [MiB + 1, 5 * MiB],
    ] as const) {
      const received = pair.theirs.receive(length)
      const moved = await sending.move(file.fd, pair.ours.fd, { position, length }).moved
      assert.deepEqual(moved, { bytes: length, full: false })
      assert.ok((await received).equals(content.subarray(position, position + length)), `${length} at ${position}`)
    }
  })

  it('moves spans beyond and across 4 GiB', async () => {
    await using sending = await started()
    await using dir = await tempDir()
    await using file: FileHandle = await open(join(dir.path, 'sparse'), 'w+')
    await using pair = await socketPair()
    for (const position of [4096 * MiB - MiB - 7, 4096 * MiB, 5 * 4096 * MiB + 3]) {
      await file.write(content, 0, 3 * MiB, position)
      const received = pair.theirs.receive(3 * MiB)
      const moved = await sending.move(file.fd, pair.ours.fd, { position, length: 3 * MiB }).moved
      assert.deepEqual(moved, { bytes: 3 * MiB, full: false })
      assert.ok((await received).equals(content.subarray(0, 3 * MiB)))
    }
  })

  it('waits while the connection takes nothing, and continues the same move', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
    assert.ok(await waits(moved))
    const half = await pair.theirs.receive(file.length / 2)
    assert.ok(await waits(moved))
    const rest = await pair.theirs.receive(file.length - half.length)
    assert.deepEqual(await moved, { bytes: file.length, full: false })
    assert.equal(sha256(Buffer.concat([half, rest])), sha256(file.bytes))
  })

  it('uses no CPU while the connection takes nothing', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const { moved, stop } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
    assert.ok(await waits(moved))
    const before = process.cpuUsage()
    await sleep(500)
    const { user, system } = process.cpuUsage(before)
    // Of all threads, in microseconds.
    assert.ok(user + system < 250_000)
    stop()
    await moved
  })

  it('ends a move whose connection takes nothing for a while, and reports the bytes moved', async () => {
    await using sending = await started({ idle: 300 })
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const span = { position: 0, length: file.length }
    const moves = [await sending.move(file.fd, pair.ours.fd, span).moved]
    assert.ok((moves[0]?.bytes ?? 0) > 0)
    // What a connection takes shrinks to nothing, not at once.
    while (moves.at(-1)?.bytes && moves.length < 10) moves.push(await sending.move(file.fd, pair.ours.fd, span).moved)
    assert.deepEqual(moves.at(-1), nothingMoved)
    for (const { bytes, full } of moves) assert.ok(full && bytes < file.length)
    pair.ours.socket.end()
    const sent = Buffer.concat(moves.map(({ bytes }) => file.bytes.subarray(0, bytes)))
    assert.ok((await pair.theirs.receive(file.length)).equals(sent))
  })

  it('goes on with a move whose connection takes a little now and then', async () => {
    await using sending = await started({ idle: 1000 })
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const begun = performance.now()
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
    let received = 0
    while (received < file.length) {
      received += (await pair.theirs.receive(Math.min(MiB, file.length - received))).length
      await sleep(40)
    }
    assert.ok(performance.now() - begun > 1000)
    assert.deepEqual(await moved, { bytes: file.length, full: false })
  })

  it('ends a move after a while although its connection takes bytes, so that they are counted', async () => {
    await using sending = await started({ busy: 300 })
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const received = inTurns(pair.theirs, file.length)
    const moves: Moved[] = []
    let left = file.length
    while (left >= least) {
      moves.push(await sending.move(file.fd, pair.ours.fd, { position: file.length - left, length: left }).moved)
      left -= moves.at(-1)?.bytes ?? 0
    }
    await pair.ours.write(file.bytes.subarray(file.length - left))
    assert.equal(sha256(await received), sha256(file.bytes))
    assert.ok(moves.length > 1)
    for (const { bytes, full } of moves) assert.ok(bytes > 0 && !full)
  })

  it('sends full segments only while a socket is corked, and the rest afterwards', async () => {
    await using sending = await started()
    await using file = await contentFile()
    await using pair = await socketPair()
    const uncork = sending.cork(pair.ours.fd)
    assert.ok(isCorked(pair.ours.fd))
    await pair.ours.write(Buffer.from('head'))
    const length = 2 * MiB + 5
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length })
    const received = pair.theirs.receive(length + 4)
    assert.deepEqual(await moved, { bytes: length, full: false })
    assert.ok(isCorked(pair.ours.fd))
    uncork()
    assert.ok(!isCorked(pair.ours.fd))
    assert.ok((await received).equals(Buffer.concat([Buffer.from('head'), file.bytes.subarray(0, length)])))
  })

  it('moves no more than the file has, if it is or becomes shorter', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const start = file.length - 2 * MiB - 5
    const { bytes, full } = await sending.move(file.fd, pair.ours.fd, { position: start, length: 5 * MiB }).moved
    assert.ok(full)
    assert.ok(bytes > 0 && bytes <= 2 * MiB + 5)
    assert.ok((await pair.theirs.receive(bytes)).equals(file.bytes.subarray(start, start + bytes)))
    for (const position of [file.length, file.length + 1, 2 ** 40]) {
      assert.deepEqual(
        await counted(sending.move(file.fd, pair.ours.fd, { position, length: MiB }).moved),
        nothingMoved,
      )
    }

    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
    assert.ok(await waits(moved))
    await truncate(file.path, file.length - 3 * MiB)
    const received = pair.theirs.receive(file.length)
    const shortened = await moved
    assert.ok(shortened.full)
    assert.ok(shortened.bytes > 0 && shortened.bytes <= file.length - 3 * MiB)
    pair.ours.socket.end()
    assert.ok((await received).equals(file.bytes.subarray(0, shortened.bytes)))
  })

  it('moves no short span', async () => {
    await using sending = await started()
    await using file = await contentFile()
    await using pair = await socketPair()
    for (const length of [-1, 0, 1, least - 1]) {
      const { moved, stop } = sending.move(file.fd, pair.ours.fd, { position: 0, length })
      assert.deepEqual(await moved, nothingMoved)
      stop()
    }
    pair.ours.socket.end('all')
    assert.equal(String(await pair.theirs.receive(100)), 'all')
  })

  it('moves nothing until a thread runs', async () => {
    const sending = SendfilePool.load()
    assert.ok(sending)
    await using _sending = sending
    await using file = await contentFile()
    await using pair = await socketPair()
    const { moved, stop } = sending.move(file.fd, pair.ours.fd, { position: 0, length: MiB })
    assert.deepEqual(await moved, nothingMoved)
    stop()
    await untilMoving(sending)
    pair.ours.socket.end('all')
    assert.equal(String(await pair.theirs.receive(100)), 'all')
  })

  it('moves nothing and does not reject where a descriptor or position is bad', async () => {
    const deaths: ThreadDied[] = []
    await using sending = await started({ onDeath: (death) => deaths.push(death) })
    await using file = await contentFile()
    await using writeOnly = await contentFile({ flags: 'a' })
    await using pair = await socketPair()
    const folder = openSync(file.folder, 'r')
    const before = await openSockets()
    const span = { position: 0, length: MiB }
    for (const [from, to, where] of [
      // Nothing that could be waited for.
      [file.fd, folder, span],
      [file.fd, file.fd, span],
      [999_999, pair.ours.fd, span],
      [-1, pair.ours.fd, span],
      [folder, pair.ours.fd, span],
      [writeOnly.fd, pair.ours.fd, span],
      [file.fd, 999_999, span],
      [file.fd, -1, span],
      [file.fd, pair.ours.fd, { position: -1, length: MiB }],
      [file.fd, pair.ours.fd, { position: -5, length: MiB }],
    ] as const) {
      assert.deepEqual(await counted(sending.move(from, to, where).moved), nothingMoved)
    }
    closeSync(folder)
    assert.equal(await openSockets(), before)
    const received = pair.theirs.receive(MiB)
    assert.deepEqual(await sending.move(file.fd, pair.ours.fd, span).moved, { bytes: MiB, full: false })
    assert.ok((await received).equals(content.subarray(0, MiB)))
    assert.deepEqual(deaths, [])
  })

  it('moves nothing to a client that has left', async () => {
    await using sending = await started()
    await using file = await contentFile()
    await using pair = await socketPair()
    pair.theirs.socket.resetAndDestroy()
    await pair.theirs.close()
    assert.deepEqual(await sending.move(file.fd, pair.ours.fd, { position: 0, length: MiB }).moved, nothingMoved)
  })

  for (const [how, leave] of [
    ['resets', (end: End) => end.socket.resetAndDestroy()],
    ['closes', (end: End) => end.socket.destroy()],
  ] as const) {
    it(`ends soon for a client that ${how} its connection during a move`, async () => {
      await using sending = await started()
      await using file = await contentFile(large)
      const before = await openSockets()
      await using pair = await socketPair()
      const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
      await pair.theirs.receive(MiB)
      assert.ok(await waits(moved))
      leave(pair.theirs)
      const { bytes, full } = await moved
      assert.ok(full)
      assert.ok(bytes >= MiB && bytes < file.length)
      await pair.ours.close()
      await pair.theirs.close()
      assert.equal(await openSockets(), before)
    })
  }

  it('stops when asked to, and reports exactly what the other end receives', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    for (const before of [0, 1, 3 * MiB]) {
      await using pair = await socketPair()
      const { moved, stop } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
      const first = await pair.theirs.receive(before)
      stop()
      stop()
      const { bytes, full } = await moved
      assert.ok(full)
      assert.ok(bytes >= before && bytes < file.length)
      pair.ours.socket.end('the end')
      const all = Buffer.concat([first, await pair.theirs.receive(file.length)])
      assert.equal(sha256(all), sha256(Buffer.concat([file.bytes.subarray(0, bytes), Buffer.from('the end')])))
    }
  })

  it('stops only the move that was meant, although another one has the same descriptor number', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    const received = pair.theirs.receive(MiB)
    const over = sending.move(file.fd, pair.ours.fd, { position: 0, length: MiB })
    await Promise.all([over.moved, received])
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: file.length })
    over.stop()
    assert.ok(await waits(moved))
    over.stop()
    assert.equal(sha256(await pair.theirs.receive(file.length)), sha256(file.bytes))
    assert.deepEqual(await moved, { bytes: file.length, full: false })
    over.stop()
  })

  it('serves many connections at once, each at its own pace and position', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    const before = await openSockets()
    const length = 4 * MiB + 1
    const move = async (index: number): Promise<void> => {
      await using pair = await socketPair()
      const position = index * 100_003
      const { moved } = sending.move(file.fd, pair.ours.fd, { position, length })
      const hash = createHash('sha256')
      for (let left = length; left > 0; ) {
        // Some take all they can get, some a little now and then, some are in no hurry to begin.
        if (index % 3 === 1) await sleep(1)
        if (index % 3 === 2 && left === length) await sleep(100)
        const chunk = await pair.theirs.receive(Math.min(left, 50_000 + 1000 * index))
        assert.ok(chunk.length > 0)
        hash.update(chunk)
        left -= chunk.length
      }
      assert.deepEqual(await moved, { bytes: length, full: false })
      assert.equal(hash.digest('hex'), sha256(file.bytes.subarray(position, position + length)), `number ${index}`)
    }
    await Promise.all(Array.from({ length: 60 }, (_, index) => move(index)))
    await using late = await socketPair()
    assert.ok(late.ours.fd < before + 1000)
    assert.equal(await openSockets(), before + 2)
  })

  it('serves others while some connections take nothing', async () => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using idle = await manyPairs(70)
    const span = { position: 0, length: file.length }
    const waiting = idle.pairs.map(({ ours }) => sending.move(file.fd, ours.fd, span))
    const begun = performance.now()
    for (let round = 0; round < 100; round += 1) {
      await using pair = await socketPair()
      const received = pair.theirs.receive(least)
      const moved = await sending.move(file.fd, pair.ours.fd, { position: round, length: least }).moved
      assert.deepEqual(moved, { bytes: least, full: false })
      assert.ok((await received).equals(content.subarray(round, round + least)))
    }
    // A thread that is not woken looks for something new ten times a second.
    assert.ok(performance.now() - begun < 7000)
    for (const { stop } of waiting) stop()
    for (const { moved } of waiting) assert.ok((await moved).full)
  })

  it('starts one more thread while all are busy, up to four', async (test) => {
    const most = Math.min(availableParallelism(), 4)
    if (most === 1) return test.skip('there is one processor')
    const before = await openEvents()
    await using sending = await started()
    const each = (await openEvents()) - before
    assert.ok(each > 0)
    await using file = await contentFile(large)
    await using idle = await manyPairs(most + 10)
    const moves: SendfileJob[] = []
    for (const [index, { ours, theirs }] of idle.pairs.entries()) {
      const sent = sending.move(file.fd, ours.fd, { position: 0, length: file.length })
      moves.push(sent)
      assert.ok((await theirs.receive(10)).equals(file.bytes.subarray(0, 10)))
      const threads = before + each * Math.min(most, index + 1)
      await until(async () => (await openEvents()) === threads, `${threads} descriptors`)
    }
    for (const { stop } of moves) stop()
    for (const { moved } of moves) assert.ok((await moved).full)
  })

  it('sends nothing to a later connection with the same descriptor number', async (test) => {
    await using sending = await started()
    await using file = await contentFile(large)
    const server = await pairServer()
    let reused = 0
    for (let round = 0; round < 5; round += 1) {
      await using first = await connectPair(server)
      const { fd } = first.ours
      const { moved } = sending.move(file.fd, fd, { position: 0, length: file.length })
      if (round % 2 === 1) assert.ok((await first.theirs.receive(100)).equals(file.bytes.subarray(0, 100)))
      await first.ours.close()
      await using second = await connectPair(server)
      const ends = [second.ours, second.theirs]
      if (ends.some((end) => end.fd === fd)) reused += 1
      const from = round % 2 === 1 ? 100 : 0
      assert.equal(sha256(await first.theirs.receive(file.length - from)), sha256(file.bytes.subarray(from)))
      assert.deepEqual(await moved, { bytes: file.length, full: false })
      for (const end of ends) end.socket.end()
      for (const end of ends) assert.equal((await end.receive(1)).length, 0)
    }
    server.close()
    test.diagnostic(`the number came again in ${reused} of 5 rounds`)
    assert.ok(reused > 0)
  })

  it('has no open descriptor once it is disposed of, even during moves', async () => {
    await using file = await contentFile(large)
    const [sockets, events] = [await openSockets(), await openEvents()]
    for (let round = 0; round < 3; round += 1) {
      await using pairs = await manyPairs(2)
      const sending = await started()
      // The second asks for a second thread, which may not run before all is over.
      const moves = pairs.pairs.map(({ ours }) => sending.move(file.fd, ours.fd, { position: 0, length: file.length }))
      for (const { theirs } of pairs.pairs) assert.ok((await theirs.receive(100)).equals(content.subarray(0, 100)))
      await sending[Symbol.asyncDispose]()
      for (const { moved } of moves) assert.deepEqual(await moved, nothingMoved)
      assert.equal(await openEvents(), events)
      // Nobody knows how much it was, so there must not be more of it.
      for (const { ours, theirs } of pairs.pairs) {
        await assert.rejects(ours.write(content))
        const rest = await theirs.receive(file.length)
        assert.ok(rest.length < file.length - 100)
        assert.ok(rest.equals(file.bytes.subarray(100, 100 + rest.length)))
        await Promise.all([ours.close(), theirs.close()])
      }
      assert.equal(await openSockets(), sockets)
    }
  })

  it('closes each of its descriptors once, whatever happens after dispose', async () => {
    const sending = await started()
    await using file = await contentFile()
    await using pair = await socketPair()
    await Promise.all([sending[Symbol.asyncDispose](), sending[Symbol.asyncDispose]()])
    const others = Array.from({ length: 40 }, () => openSync(file.path, 'r'))
    await sending[Symbol.asyncDispose]()
    for (let count = 0; count < 3; count += 1) {
      await sending.move(file.fd, pair.ours.fd, { position: 0, length: MiB }).moved
      await sleep(50)
    }
    await sending[Symbol.asyncDispose]()
    const { ino } = fstatSync(file.fd)
    for (const fd of others) assert.equal(fstatSync(fd).ino, ino)
    for (const fd of others) closeSync(fd)
  })
})

async function manyPairs(count: number) {
  const pairs: SocketPair[] = []
  const server = await pairServer()
  while (pairs.length < count) pairs.push(await connectPair(server))
  server.close()
  return {
    pairs,
    async [Symbol.asyncDispose]() {
      await Promise.all(pairs.map((pair) => pair[Symbol.asyncDispose]()))
    },
  }
}

describe('SendfilePool what is not in memory', { skip, ...hang }, () => {
  /** Whether bytes of the file are in memory; undefined where the system does not say. To ask is to have them read. */
  function inMemory(fd: number, position: number): boolean | undefined {
    assert.ok(libc)
    if (libc.preadv(fd, libc.vector(1).address, 1, position, 8) === 1) return true
    return libc.errno() === 11 ? false : undefined
  }

  it('is left to be read', async (test) => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    await file.sync()
    dropFromMemory(file.fd, 0, file.length)
    if (inMemory(file.fd, file.length - 8 * MiB) !== false) return test.skip('what is dropped stays in memory here')
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: 4 * MiB })
    assert.deepEqual(await moved, { ...nothingMoved, absent: true })
  })

  it('is left to be read even if only its beginning is missing', async (test) => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    await file.sync()
    dropFromMemory(file.fd, 0, MiB / 2)
    if (inMemory(file.fd, MiB / 4) !== false) return test.skip('what is dropped stays in memory here')
    dropFromMemory(file.fd, 0, MiB / 2)
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: 4 * MiB })
    assert.deepEqual(await moved, { ...nothingMoved, absent: true })
  })

  it('is left to be read from where the missing part begins', async (test) => {
    await using sending = await started()
    await using file = await contentFile(large)
    await using pair = await socketPair()
    await file.sync()
    const cold = 16 * MiB
    dropFromMemory(file.fd, cold, file.length - cold)
    if (inMemory(file.fd, file.length - 8 * MiB) !== false) return test.skip('what is dropped stays in memory here')
    const received = pair.theirs.receive(file.length)
    const { bytes, full } = await sending.move(file.fd, pair.ours.fd, { position: 0, length: 32 * MiB }).moved
    pair.ours.socket.end()
    assert.ok(full)
    assert.ok(bytes > 0 && bytes <= cold)
    assert.equal(sha256(await received), sha256(file.bytes.subarray(0, bytes)))
  })

  it('is moved where the file system cannot say what is in memory', async (test) => {
    const disk = await mountTinyDisk(16 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using sending = await started()
    await writeFile(disk.path, content)
    await using file: FileHandle = await open(disk.path)
    await using pair = await socketPair()
    const received = pair.theirs.receive(content.length)
    const { moved } = sending.move(file.fd, pair.ours.fd, { position: 0, length: content.length })
    assert.deepEqual(await moved, { bytes: content.length, full: false })
    assert.ok((await received).equals(content))
    const rest = { position: content.length - MiB, length: 2 * MiB }
    const last = pair.theirs.receive(MiB)
    assert.deepEqual(await sending.move(file.fd, pair.ours.fd, rest).moved, { bytes: MiB, full: true })
    assert.ok((await last).equals(content.subarray(-MiB)))
  })
})

describe('SendfilePool whose thread has died', { skip, ...hang }, () => {
  /** No number at all: the thread fails on it. */
  const poison = 'poison' as unknown as number
  const span = { position: 0, length: MiB }

  it('moves nothing, and starts no other thread for a minute', async (test) => {
    const deaths: ThreadDied[] = []
    const [sockets, events] = [await openSockets(), await openEvents()]
    await using sending = await started({ onDeath: (death) => deaths.push(death) })
    await using file = await contentFile()
    {
      await using pair = await socketPair()
      assert.deepEqual(await sending.move(poison, pair.ours.fd, span).moved, nothingMoved)
    }
    assert.equal(deaths.length, 1)
    assert.match(String(deaths[0]?.message), /send-thread has died/)
    assert.match(String(deaths[0]?.cause), /String/)
    {
      await using pair = await socketPair()
      for (let count = 0; count < 5; count += 1) {
        const { moved, stop } = sending.move(file.fd, pair.ours.fd, span)
        stop()
        assert.deepEqual(await moved, nothingMoved)
        await sleep(10)
      }
      // Nothing of it was asked of a thread, so the connection is whole.
      pair.ours.socket.end('all')
      assert.equal(String(await pair.theirs.receive(100)), 'all')
    }
    assert.deepEqual([await openSockets(), await openEvents()], [sockets, events])

    const now = performance.now()
    test.mock.method(performance, 'now', () => now + 60_000)
    await untilMoving(sending)
    assert.equal(deaths.length, 1)
  })

  it('breaks the connections of its moves; all bytes before are right', async () => {
    const deaths: ThreadDied[] = []
    await using sending = await started({ onDeath: (death) => deaths.push(death) })
    await using file = await contentFile(large)
    const before = await openSockets()
    {
      await using pairs = await manyPairs(6)
      const [victim, ...others] = pairs.pairs
      assert.ok(victim)
      // All of them at once, before a second thread runs.
      const moves = others.map(({ ours }) => sending.move(file.fd, ours.fd, { position: 7, length: file.length - 7 }))
      const received = others.map(({ theirs }) => theirs.receive(100))
      const poisoned = sending.move(poison, victim.ours.fd, span)
      for (const [index, { moved, stop }] of moves.entries()) {
        assert.deepEqual(await moved, nothingMoved)
        stop()
        await assert.rejects(others[index]?.ours.write(content) ?? Promise.resolve())
      }
      assert.deepEqual(await poisoned.moved, nothingMoved)
      assert.equal(deaths.length, 1)
      for (const [index, { theirs }] of others.entries()) {
        const all = Buffer.concat([(await received[index]) ?? Buffer.alloc(0), await theirs.receive(file.length)])
        assert.ok(all.length < file.length - 7)
        assert.ok(all.equals(file.bytes.subarray(7, 7 + all.length)))
      }
      assert.equal((await victim.theirs.receive(1)).length, 0)
    }
    assert.equal(await openSockets(), before)
  })

  it('during a move breaks that connection as well', async () => {
    const deaths: ThreadDied[] = []
    await using sending = await started({ onDeath: (death) => deaths.push(death) })
    await using file = await contentFile(large)
    await using pairs = await manyPairs(2)
    const [victim, slow] = pairs.pairs
    assert.ok(victim && slow)
    const { moved } = sending.move(file.fd, slow.ours.fd, { position: 0, length: file.length })
    const first = await slow.theirs.receive(2 * MiB)
    assert.ok(await waits(moved))
    await sending.move(poison, victim.ours.fd, span).moved
    assert.deepEqual(await moved, nothingMoved)
    await assert.rejects(slow.ours.write(content))
    const all = Buffer.concat([first, await slow.theirs.receive(file.length)])
    assert.ok(all.length < file.length)
    assert.ok(all.equals(file.bytes.subarray(0, all.length)))
    assert.equal(deaths.length, 1)
  })
})

describe('a process that sends', { skip, ...hang }, () => {
  /** Of a script, to which `sending`, `fd` of a file so long, and a `pair` are given. It is killed where it does not end. */
  async function outputOf(script: string, ...flags: string[]): Promise<string> {
    await using file = await contentFile(large)
    const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href)
    const path = join(file.folder, 'script.mjs')
    await writeFile(
      path,
      `import { openSync } from 'node:fs'
      import { SendfilePool } from ${url('../../../src/storage/sendfile/sendfile-pool.ts')}
      import { untilMoving } from ${url('../../support/moving.ts')}
      import { socketPair } from ${url('../../support/socket-pair.ts')}
      const sending = SendfilePool.load({ idle: ${never} })
      await untilMoving(sending)
      const fd = openSync(${JSON.stringify(file.path)}, 'r')
      const length = ${file.length}
      const pair = await socketPair()
      ${script}`,
    )
    const ended = await promisify(execFile)(process.execPath, [...flags, path], { cwd: file.folder, timeout: 300_000 })
    return ended.stdout.trim()
  }

  const begin = `
    const { moved } = sending.move(fd, pair.ours.fd, { position: 0, length })
    await pair.theirs.receive(${MiB})
    console.log('moving')`

  it('can exit during a move', async () => {
    assert.equal(await outputOf(`${begin}; setInterval(() => {}, 1000); process.exit(0)`), 'moving')
  })

  it('ends by itself when nothing else is left to do, even during a move', async () => {
    assert.equal(await outputOf(`console.log('done'); await pair[Symbol.asyncDispose]()`), 'done')
    assert.equal(await outputOf(`${begin}; pair.ours.socket.unref(); pair.theirs.socket.unref()`), 'moving')
  })

  it('moves everything although its system calls are interrupted', async () => {
    const script = `
      let isOver = false
      const { moved } = sending.move(fd, pair.ours.fd, { position: 0, length })
      const received = await pair.theirs.receive(length)
      console.log(JSON.stringify([received.length, await moved]))
      await pair[Symbol.asyncDispose]()`
    // By a signal to each thread, so often in microseconds.
    const out = await outputOf(script, '--cpu-prof', '--cpu-prof-interval', '50', '--cpu-prof-dir', '.')
    const { length } = content
    assert.deepEqual(JSON.parse(out), [8 * length, { bytes: 8 * length, full: false }])
  })
})
