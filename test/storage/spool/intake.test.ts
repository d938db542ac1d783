import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf } from '../../../src/oci/digest.ts'
import { Offload } from '../../../src/storage/io-threads.ts'
import { Intake } from '../../../src/storage/spool/intake.ts'
import { Receiving, type SupplyEnd } from '../../../src/storage/spool/receiving.ts'
import { Ring } from '../../../src/storage/spool/ring.ts'
import { RingStart } from '../../../src/storage/spool/ring-ends.ts'
import { marks } from '../../../src/storage/spool/ring-memory.ts'
import { Spool, SpoolUnwritable } from '../../../src/storage/spool/spool.ts'
import type { SuppliedRing } from '../../../src/storage/spool/supplied-ring.ts'
import { Writing, type WrittenFile } from '../../../src/storage/spool/writing.ts'
import { loadLibc } from '../../../src/threads/libc.ts'
import { ThreadDied } from '../../../src/threads/thread.ts'
import { mountTinyDisk, type TinyDisk } from '../../cache/support/tiny-disk.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles, openSockets } from '../../support/open-files.ts'
import { readAll } from '../../support/read-all.ts'
import { untilReceiving } from '../../support/receiver.ts'
import { sizes } from '../../support/rings.ts'
import { type UnreadPair, unreadPair } from '../../support/socket-pair.ts'
import { tempDir } from '../../support/temp.ts'
import { block, started, stayAlive, warm } from '../../support/threads.ts'
import { until } from '../../support/wait.ts'

stayAlive()

const MiB = 1024 * 1024
/** Far more than there is room for at once. */
const content = randomBlob(Math.max(9 * MiB, 2 * sizes.large + MiB) + 4321)
const skip = loadLibc() ? false : 'recv(2) cannot be called here'
const never = 3_600_000
const hang = { timeout: 120_000 }
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

async function threads() {
  const receiving = Receiving.load()
  assert.ok(receiving)
  await untilReceiving(receiving)
  const writing = new Writing(undefined, receiving)
  await warm(writing)
  return {
    receiving,
    writing,
    async [Symbol.asyncDispose]() {
      await writing[Symbol.asyncDispose]()
      await receiving[Symbol.asyncDispose]()
    },
  }
}

function opened(writing: Writing, file: number): WrittenFile {
  const written = writing.open(file, 'sha256', 0)
  assert.ok(written)
  return written
}

/** Has so much of what comes next received into a file's memory. */
function intake(memory: SuppliedRing | undefined, pair: UnreadPair, length: number, stall = never): Intake {
  const intake = memory?.receive?.({ socket: pair.fd, length, stall })
  assert.ok(intake)
  return intake
}

/** All that it yields. */
async function counts(intake: Intake): Promise<number[]> {
  const all: number[] = []
  for await (const bytes of intake) all.push(bytes)
  return all
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)

/** What is received by nobody, and taken by one who answers when he is told to. */
function unreceived() {
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

describe('Intake', { skip, ...hang }, () => {
  it('counts all that was received, of which each byte is in the file, and in its digest', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    for (const length of [1, 128 * 1024, MiB, MiB + 1, content.length - 5]) {
      await using pair = await unreadPair()
      await using handle = await open(join(dir.path, `${length}`), 'wx+')
      const file = opened(both.writing, handle.fd)
      // Some of it comes in the other way before, and some afterwards.
      file.put(content.subarray(0, 2))
      const received = intake(file.memory, pair, length)
      pair.theirs.send(content.subarray(2, 2 + length))
      assert.equal(sum(await counts(received)), length)
      assert.equal(received.end, 'whole')
      file.put(content.subarray(2 + length, 5 + length))
      await file.flush()
      assert.equal(file.written, length + 5)
      assert.equal(await file.digest(), sha256(content.subarray(0, length + 5)))
      assert.ok((await handle.readFile()).equals(content.subarray(0, length + 5)))
      await file.close()
    }
  })

  it('is not taken up again where it was in vain eight times in a row', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    for (const bytes of [0, 1000, ...Array.from({ length: 8 }, () => 0)]) {
      await using pair = await unreadPair()
      const received = intake(file.memory, pair, content.length)
      pair.theirs.socket.end(content.subarray(0, bytes))
      assert.equal(sum(await counts(received)), bytes)
      assert.equal(received.end, 'closed')
    }
    await using pair = await unreadPair()
    assert.equal(file.memory.receive?.({ socket: pair.fd, length: 1000, stall: never }), undefined)
    await file.close()
  })

  it('is taken up again, by another connection, and by the same file', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    let at = 0
    while (at < content.length) {
      await using pair = await unreadPair()
      const received = intake(file.memory, pair, content.length - at)
      pair.theirs.socket.end(content.subarray(at, at + 2 * MiB))
      at += sum(await counts(received))
      assert.equal(received.end, at < content.length ? 'closed' : 'whole')
      const more = content.subarray(at, at + 1000)
      at += file.put(more)
    }
    await file.flush()
    assert.equal(await file.digest(), sha256(content))
    assert.ok((await handle.readFile()).equals(content))
    await file.close()
  })

  it('tells of little, too, though nothing more comes', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using pair = await unreadPair()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    const received = intake(file.memory, pair, MiB)
    const iterator = received[Symbol.asyncIterator]()
    for (const bytes of [1, 1000, 100_000]) {
      await pair.theirs.write(content.subarray(0, bytes))
      for (let left = bytes; left > 0; ) left -= (await iterator.next()).value ?? assert.fail()
    }
    const next = iterator.next()
    // Not that it is nothing.
    assert.equal(await Promise.race([next, sleep(300, 'waits')]), 'waits')
    assert.equal(received.end, undefined)
    await pair.theirs.write(content.subarray(0, 1))
    assert.deepEqual(await next, { done: false, value: 1 })
    await received.stop()
    assert.equal(received.end, 'stopped')
    assert.deepEqual(await iterator.next(), { done: false, value: 0 })
    assert.equal((await iterator.next()).done, true)
    await file.close()
  })

  it('does not tell of much byte by byte', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using pair = await unreadPair()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    const received = intake(file.memory, pair, content.length)
    pair.theirs.send(content)
    const all = await counts(received)
    assert.equal(sum(all), content.length)
    // That no more will come may be heard after all was counted.
    assert.ok(
      all
        .slice(
          0,
          all.findLastIndex((bytes) => bytes > 0),
        )
        .every((bytes) => bytes > 0),
    )
    await file.close()
  })

  for (const [how, leave, end] of [
    ['closed', (pair: UnreadPair) => void pair.theirs.socket.end(), 'closed'],
    ['silent', () => undefined, 'stalled'],
    ['told to stop', (_: UnreadPair, received: Intake) => void received.stop(), 'stopped'],
  ] as const) {
    for (const length of [0, 300_000])
      it(`counts all ${length} bytes that came before the connection was ${how}, though the thread that writes is behind`, async () => {
        await using both = await threads()
        await using dir = await tempDir()
        await using pair = await unreadPair()
        await using handle = await open(join(dir.path, 'file'), 'wx+')
        const file = opened(both.writing, handle.fd)
        await using blocker = await block(both.writing, join(dir.path, 'blocker'))
        const received = intake(file.memory, pair, MiB, how === 'silent' ? 1000 : never)
        await pair.theirs.write(content.subarray(0, length))
        await until(() => file.memory.uncounted === length, 'the bytes')
        const counting = counts(received)
        leave(pair, received)
        assert.equal(sum(await counting), length)
        assert.equal(received.end, end)
        await blocker.over
        await file.flush()
        assert.equal(await file.digest(), sha256(content.subarray(0, length)))
        assert.ok((await handle.readFile()).equals(content.subarray(0, length)))
        await file.close()
      })
  }

  it('yields 0 where what came is not taken out, and goes on when it is again', async (test) => {
    const disk = await mountTinyDisk(16 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using both = await threads()
    await mkdir(disk.path)
    await using pair = await unreadPair()
    await using handle = await open(join(disk.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    await disk.fill(2_500_000)
    const received = intake(file.memory, pair, content.length)
    pair.theirs.send(content)
    let counted = 0
    let troubles = 0
    for await (const bytes of received) {
      counted += bytes
      if (!file.isTroubled) continue
      troubles += 1
      if (troubles === 3) await disk.free()
      // Where it cannot be written still, that is new trouble.
      await file.retry()
      assert.ok(!file.isTroubled)
    }
    assert.ok(troubles >= 3)
    assert.equal(counted, content.length)
    assert.equal(received.end, 'whole')
    await file.flush()
    assert.equal(await file.digest(), sha256(content))
    assert.ok((await handle.readFile()).equals(content))
    await file.close()
  })

  it('ends with what is counted where the thread that writes dies, and nobody receives any more', async () => {
    using all = started()
    await using both = await threads()
    await using dir = await tempDir()
    await using pair = await unreadPair()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    const received = intake(file.memory, pair, content.length)
    pair.theirs.send(content)
    let counted = 0
    const writer = all.threads[1]
    assert.ok(writer)
    for await (const bytes of received) {
      counted += bytes
      if (counted > 2 * MiB) await writer.terminate()
    }
    assert.ok(counted > 2 * MiB && counted < content.length)
    assert.equal(received.end, 'stopped')
    assert.ok(file.written <= counted)
    assert.ok(file.rest().equals(content.subarray(file.written, counted)))
    assert.equal(file.memory.receive?.({ socket: pair.fd, length: 1, stall: never }), undefined)
    await file.close()
  })

  it('ends with what is counted where the thread that receives dies', async () => {
    using all = started()
    const before = await openSockets()
    await using both = await threads()
    await using dir = await tempDir()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    let counted = 0
    {
      await using pair = await unreadPair()
      const received = intake(file.memory, pair, content.length)
      pair.theirs.send(content)
      for await (const bytes of received) {
        counted += bytes
        if (counted > 2 * MiB) await all.threads[0]?.terminate()
      }
      assert.equal(received.end, 'stopped')
    }
    assert.ok(counted > 2 * MiB && counted < content.length)
    // From another source.
    for (let at = counted; at < content.length; ) {
      await file.room()
      at += file.put(content.subarray(at))
    }
    await file.flush()
    assert.equal(await file.digest(), sha256(content))
    assert.ok((await handle.readFile()).equals(content))
    await file.close()
    assert.equal(await openSockets(), before)
  })

  it('takes nothing for saved that a thread said to be before it died, and did not put in', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using pair = await unreadPair()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    const received = intake(file.memory, pair, 5000)
    await pair.theirs.write(content.subarray(0, 5000))
    await until(() => received.end, 'the end')
    Atomics.add(new Int32Array(file.memory.memory.marks), marks.savedTo, 1000)
    assert.deepEqual(await counts(received), [5000])
    file.put(content.subarray(5000, 7000))
    await file.flush()
    assert.equal(await file.digest(), sha256(content.subarray(0, 7000)))
    assert.ok((await handle.readFile()).equals(content.subarray(0, 7000)))
    await file.close()
  })

  it('is over before its file is closed, and only then is the memory another one’s', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using pair = await unreadPair()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    // As if the thread had much else to do before it hears of it.
    const gate = Promise.withResolvers<void>()
    const into = both.receiving.into.bind(both.receiving)
    both.receiving.into = (...given) => {
      const received = into(...given)
      return received && { ...received, ended: received.ended.finally(() => gate.promise) }
    }
    const received = intake(file.memory, pair, content.length)
    const { memory } = file.memory
    pair.theirs.send(content)
    await until(() => file.memory.uncounted > 0, 'bytes')
    let isClosed = false
    const closing = file.close().then(() => {
      isClosed = true
    })
    for (let turn = 0; turn < 3; turn += 1) {
      await sleep(50)
      assert.ok(!isClosed)
      assert.ok(new Ring().memory !== memory)
    }
    gate.resolve()
    await closing
    assert.equal(received.end, 'stopped')
    assert.ok(new Ring().memory === memory)
    const bytes = Buffer.from(new Uint8Array(memory.bytes))
    // More of it is still to be had.
    await sleep(50)
    assert.ok(Buffer.from(memory.bytes).equals(bytes))
  })

  it('is over when nobody iterates over it any more', async () => {
    await using both = await threads()
    await using dir = await tempDir()
    await using pair = await unreadPair()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(both.writing, handle.fd)
    const received = intake(file.memory, pair, content.length)
    pair.theirs.send(content)
    let counted = 0
    for await (const bytes of received) {
      counted += bytes
      if (counted > MiB) break
    }
    assert.equal(received.end, 'stopped')
    await file.close()
  })
})

describe('Intake, whoever receives and takes,', () => {
  it('does not ask for more once no more comes, however long the answer takes', async () => {
    const { body, ended, answer, asked, put, memory } = unreceived()
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
    const { body, answer, put, memory } = unreceived()
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

/** An offload whose threads run. */
async function warmOffload(path: string): Promise<Offload> {
  const offload = new Offload()
  await warm(offload.writing)
  await using handle = await open(path, 'w')
  await using pair = await unreadPair()
  const supply = { socket: pair.fd, length: 1, stall: never }
  const file = offload.writing.open(handle.fd, 'sha256', 0)
  assert.ok(file)
  const received = await until(() => file.memory.receive?.(supply), 'a thread that receives')
  await pair.theirs.write(Buffer.from('x'))
  for await (const _ of received);
  await file.close()
  return offload
}

/** A disk that is almost full, but for `left` bytes, with an offload whose threads run. */
async function fullDisk(left: number): Promise<string | (AsyncDisposable & { disk: TinyDisk; offload: Offload })> {
  const disk = await mountTinyDisk(32 * MiB)
  if (typeof disk === 'string') return disk
  await mkdir(disk.path)
  const offload = await warmOffload(join(disk.path, 'warm'))
  await disk.fill(left)
  return {
    disk,
    offload,
    async [Symbol.asyncDispose]() {
      await offload[Symbol.asyncDispose]()
      await disk[Symbol.asyncDispose]()
    },
  }
}

describe('a spool into whose memory a thread receives', { skip, ...hang }, () => {
  async function spoolIn(
    path: string,
    offload: Offload,
    relieve?: (bytes: number) => Promise<boolean>,
  ): Promise<Spool> {
    const spool = await Spool.create(join(path, 'spool'), { offload, ...(relieve && { relieve }) })
    spool.expect(content.length)
    spool.hashFor(digestOf(content))
    return spool
  }

  it('gives its readers what came at once, and the last byte when it is released', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload(join(dir.path, 'warm'))
    await using pair = await unreadPair()
    const spool = await spoolIn(dir.path, offload)
    await spool.append(content.subarray(0, 1000))
    const received = intake(spool.memory, pair, content.length - 1000)
    const reader = spool.follow({ start: 0, end: undefined })
    const late = readAll(spool.follow({ start: 3 * MiB, end: undefined }))
    const filling = (async () => {
      for await (const bytes of received) await spool.append(bytes)
    })()
    let got = 0
    const read = async (to: number): Promise<void> => {
      while (got < to) {
        const chunk = (await reader.read()) ?? assert.fail()
        assert.ok(chunk.equals(content.subarray(got, got + chunk.length)))
        got += chunk.length
      }
      assert.equal(got, to)
    }
    // Little by little, and then no more for a while.
    for (const to of [1001, 5000, 300_000, 2 * MiB]) {
      pair.theirs.send(content.subarray(got || 1000, to))
      await read(to)
      assert.equal(spool.written, to)
    }
    pair.theirs.send(content.subarray(2 * MiB))
    await filling
    assert.equal(received.end, 'whole')
    await read(content.length - 1)
    const last = reader.read()
    assert.equal(await spool.digest(), sha256(content))
    assert.equal(await Promise.race([last, sleep(100, 'waits')]), 'waits')
    spool.release()
    assert.ok((await last)?.equals(content.subarray(-1)))
    assert.equal(await reader.read(), undefined)
    await reader.close()
    assert.ok((await late).equals(content.subarray(3 * MiB)))
    await spool.moveTo(join(dir.path, 'stored'))
    await spool.close()
    assert.ok((await readFile(join(dir.path, 'stored'))).equals(content))
    assert.equal(await openFiles(dir.path), 0)
  })

  it('goes on where the disk was full and room is made, with nothing doubled and nothing missing', async (test) => {
    const full = await fullDisk(2_500_000)
    if (typeof full === 'string') return test.skip(full)
    await using _full = full
    const { disk, offload } = full
    await using pair = await unreadPair()
    const asked: number[] = []
    const spool = await spoolIn(disk.path, offload, async (bytes) => {
      asked.push(bytes)
      if (asked.length === 3) await disk.free()
      return true
    })
    const got = readAll(spool.follow({ start: 0, end: undefined }))
    const received = intake(spool.memory, pair, content.length)
    pair.theirs.send(content)
    for await (const bytes of received) await spool.append(bytes)
    assert.ok(asked.length >= 3)
    assert.equal(spool.written, content.length)
    assert.equal(await spool.digest(), sha256(content))
    spool.release()
    assert.ok((await got).equals(content))
    assert.ok((await readFile(spool.path)).equals(content))
    await spool.close()
    assert.equal(await openFiles(disk.path), 0)
  })

  it('is readable to the last byte that was counted where the disk stays full, and takes no more', async (test) => {
    const full = await fullDisk(2_500_000)
    if (typeof full === 'string') return test.skip(full)
    await using _full = full
    const { disk, offload } = full
    await using pair = await unreadPair()
    const spool = await spoolIn(disk.path, offload)
    const received = intake(spool.memory, pair, content.length)
    pair.theirs.send(content)
    let counted = 0
    await assert.rejects(async () => {
      for await (const bytes of received) {
        counted += bytes
        await spool.append(bytes)
      }
    }, SpoolUnwritable)
    assert.equal(received.end, 'stopped')
    assert.equal(spool.written, counted)
    assert.ok(counted > 2_000_000 && counted < content.length)
    const reader = spool.follow({ start: 0, end: undefined })
    spool.fail(new Error('full'))
    const chunks: Buffer[] = []
    await assert.rejects(async () => {
      for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
    }, /full/)
    await reader.close()
    assert.ok(Buffer.concat(chunks).equals(content.subarray(0, counted)))
    assert.equal((await spool.hashSoFar()).digest('hex'), sha256(content.subarray(0, counted)))
    await spool.close()
    assert.equal(await openFiles(disk.path), 0)
  })

  for (const [who, index] of [
    ['writes', 0],
    ['receives', 1],
  ] as const) {
    it(`is right though the thread that ${who} dies in the middle, and the rest comes the other way`, async () => {
      for (const when of [1, MiB, 4 * MiB]) {
        await using dir = await tempDir()
        using all = started()
        await using offload = await warmOffload(join(dir.path, 'warm'))
        await using pair = await unreadPair()
        const spool = await spoolIn(dir.path, offload)
        const got = readAll(spool.follow({ start: 0, end: undefined }))
        const received = intake(spool.memory, pair, content.length)
        pair.theirs.send(content)
        for await (const bytes of received) {
          await spool.append(bytes)
          if (spool.written >= when) void all.threads[index]?.terminate()
        }
        const from = spool.written
        if (from < content.length) assert.equal(received.end, 'stopped')
        spool.memory?.restart()
        for (let at = from; at < content.length; at += 500_000) await spool.append(content.subarray(at, at + 500_000))
        assert.equal(await spool.digest(), sha256(content))
        spool.release()
        assert.ok((await got).equals(content))
        assert.ok((await readFile(spool.path)).equals(content))
        await spool.close()
        assert.equal(await openFiles(dir.path), 0)
      }
    })
  }
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
        spool.expect(8 * MiB)
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
      assert.equal(await spool.digest(), sha256(bytes))
      await spool.close()
    })
  }
})
