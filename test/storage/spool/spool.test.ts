import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { FollowedBody } from '../../../src/cache/fill/followed-body.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { type BodyReader, nothingMoved, ReaderClosed } from '../../../src/storage/body-reader.ts'
import { IoThreads } from '../../../src/storage/io-threads.ts'
import { Spool, SpoolUnwritable } from '../../../src/storage/spool/spool.ts'
import { isCorked } from '../../support/corked.ts'
import { untilMoving } from '../../support/moving.ts'
import { openFiles } from '../../support/open-files.ts'
import { readAll } from '../../support/read-all.ts'
import { socketPair } from '../../support/socket-pair.ts'
import { tempDir } from '../../support/temp.ts'
import { until } from '../../support/wait.ts'

const content = randomBytes(5 * 1024 * 1024 + 17)
const everything = { start: 0, end: undefined }

/** Reads exactly so many bytes, or fewer where the reader ends. */
async function readSome(reader: BodyReader, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let left = length; left > 0; ) {
    const chunk = await reader.read()
    if (!chunk) break
    chunks.push(Buffer.from(chunk))
    left -= chunk.length
  }
  return Buffer.concat(chunks)
}

async function write(spool: Spool, from = 0, to = content.length): Promise<void> {
  for (let at = from; at < to; at += 65_536) await spool.append(content.subarray(at, Math.min(at + 65_536, to)))
}

async function spoolIn(path: string, size: number | undefined = content.length): Promise<Spool> {
  const spool = await Spool.create(join(path, 'spool'))
  if (size !== undefined) spool.expect(size)
  return spool
}

describe('Spool', () => {
  it('serves readers who join before, during and after the write', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const early = readAll(spool.follow(everything))
    const half = 40 * 65_536
    await write(spool, 0, half)
    const late = readAll(spool.follow(everything))
    const part = readAll(spool.follow({ start: half - 10, end: half + 10 }))
    await write(spool, half)
    spool.release()
    const after = readAll(spool.follow(everything))
    assert.ok((await early).equals(content))
    assert.ok((await late).equals(content))
    assert.ok((await after).equals(content))
    assert.deepEqual(await part, content.subarray(half - 10, half + 11))
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })

  it('holds the last byte of a known size back until release', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    await write(spool)
    const first = await readSome(reader, content.length - 1)
    assert.equal(first.length, content.length - 1)
    const last = reader.read()
    assert.equal(await Promise.race([last, Promise.resolve('held')]), 'held')
    spool.release()
    assert.deepEqual(await last, content.subarray(-1))
    assert.equal(await reader.read(), undefined)
    await reader.close()
    await spool.close()
  })

  it('of unknown size gives every byte, and the clean end only after release', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path, undefined)
    await spool.append(content.subarray(0, 100))
    const reader = spool.follow(everything)
    assert.equal((await readSome(reader, 100)).length, 100)
    const end = reader.read()
    assert.equal(await Promise.race([end, Promise.resolve('held')]), 'held')
    spool.release()
    assert.equal(await end, undefined)
    await reader.close()
    await spool.close()
  })

  it('ends readers of a failed write with the error after what there is, never with a clean end', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    await write(spool, 0, 1_000_000)
    spool.fail(new Error('upstream died'))
    assert.equal((await readSome(reader, 1_000_000)).length, 1_000_000)
    await assert.rejects(reader.read(), /upstream died/)
    await reader.close()
    await spool.close()
    assert.equal(existsSync(spool.path), false)
  })

  it('keeps the last byte back from readers of what was written whole and then failed before it was verified', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    await write(spool, 0)
    spool.fail(new Error('it cannot be read back'))
    assert.equal((await readSome(reader, content.length - 1)).length, content.length - 1)
    await assert.rejects(reader.read(), /cannot be read back/)
    await reader.close()
    await spool.close()
  })

  it('gives no further byte of content that turned out wrong', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    await write(spool, 0, 65_536)
    await reader.read()
    await write(spool, 65_536)
    spool.reject(new Error('mismatch'))
    await assert.rejects(reader.read(), /mismatch/)
    await reader.close()
    await spool.close()
  })

  it('closes a reader that waits while nothing grows, and leaves no descriptor', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    const waiting = assert.rejects(reader.read(), ReaderClosed)
    await reader.close()
    await waiting
    await assert.rejects(reader.read(), ReaderClosed)
    spool.fail(new Error('over'))
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })

  it('closes a reader that was woken for nothing in the same moment', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path, 1)
    const reader = spool.follow(everything)
    const waiting = assert.rejects(reader.read(), ReaderClosed)
    // The one byte there is has to be held back, so that the reader would wait again.
    const room = spool.append(content.subarray(0, 1))
    const closed = reader.close()
    await Promise.all([waiting, closed, room])
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })

  it('is not followed after its end, when the descriptor may be that of another file', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    await spool.close()
    assert.throws(() => spool.follow(everything), /closed/)
  })

  it('that cannot be made or moved says so', async () => {
    await using dir = await tempDir()
    await assert.rejects(Spool.create(join(dir.path, 'absent', 'spool')), SpoolUnwritable)
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    await write(spool)
    spool.release()
    await assert.rejects(spool.moveTo(join(dir.path, 'absent', 'blob')), SpoolUnwritable)
    await spool.close()
    assert.ok((await readAll(reader)).equals(content))
    assert.deepEqual(await readdir(dir.path), [])
  })

  it('is not held back by a reader that does not read', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const idle = spool.follow(everything)
    await write(spool)
    spool.release()
    assert.equal(spool.written, content.length)
    assert.ok((await readAll(idle)).equals(content))
    await spool.close()
  })

  it('moves the content under its path, durable and read-only, while readers go on', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    const reader = spool.follow(everything)
    await write(spool)
    spool.release()
    const target = join(dir.path, 'blob')
    await spool.moveTo(target)
    await spool.close()
    assert.ok((await readFile(target)).equals(content))
    assert.equal((await stat(target)).mode & 0o777, 0o444)
    assert.equal(existsSync(spool.path), false)
    assert.ok((await readAll(reader)).equals(content))
    assert.equal(await openFiles(dir.path), 0)
  })

  it('removes the file when it was not moved', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path)
    await write(spool, 0, 100)
    await spool.close()
    assert.deepEqual(await readdir(dir.path), [])
  })

  it('releases an empty body', async () => {
    await using dir = await tempDir()
    const spool = await spoolIn(dir.path, 0)
    const reading = readAll(spool.follow(everything))
    spool.release()
    assert.equal((await reading).length, 0)
    await spool.moveTo(join(dir.path, 'empty'))
    await spool.close()
  })
})

const ioThreads = new IoThreads()
const KiB = 1024
/** What is worth moving. */
const part = 256 * KiB

/** Moves so many bytes, all of them, and gives them as they came to the other end. */
async function moved(reader: BodyReader, length: number): Promise<Buffer> {
  await using pair = await socketPair()
  const received = pair.theirs.receive(length)
  assert.deepEqual(await reader.transfer(() => pair.ours.fd, length), { bytes: length, full: false })
  return await received
}

async function turns(count: number): Promise<'over'> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  return 'over'
}

/** Whether it still waits after a few turns. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([work.catch(() => undefined), turns(20)])) === 'over'
}

const withoutSending = ioThreads.sending ? false : 'sendfile(2) cannot be called here'

describe('a spool whose content is moved', { skip: withoutSending }, () => {
  before(() => untilMoving(ioThreads.sending))

  async function open(path: string, size: number | undefined = content.length): Promise<Spool> {
    const spool = await Spool.create(join(path, 'spool'), { ioThreads })
    if (size !== undefined) spool.expect(size)
    return spool
  }

  it('asks for the socket when there are bytes for it, and moves nothing where it has gone meanwhile', async () => {
    await using dir = await tempDir()
    await using pair = await socketPair()
    const spool = await open(dir.path)
    await spool.append(content.subarray(0, 1))
    const reader = spool.follow({ start: 1, end: undefined })
    let asked = 0
    const left = (): number | undefined => {
      asked += 1
      return asked > 1 ? pair.ours.fd : undefined
    }
    const waiting = reader.transfer(left, content.length)
    assert.ok(await waits(waiting))
    assert.equal(asked, 0)
    await spool.append(content.subarray(1, 2 * part))
    assert.deepEqual(await waiting, { bytes: 0, full: true })
    assert.equal(asked, 1)
    assert.deepEqual(await reader.transfer(left, part), { bytes: part, full: false })
    assert.ok((await pair.theirs.receive(part)).equals(content.subarray(1, part + 1)))
    await reader.close()
    await spool.close()
  })

  it('waits for what comes, and moves it, to several readers', async () => {
    await using dir = await tempDir()
    const spool = await open(dir.path)
    const half = 10 * part
    await spool.append(content.subarray(0, 1))
    const readers = [1, 2, 200_000].map((start) => ({ start, reader: spool.follow({ start, end: undefined }) }))
    const got = readers.map(({ start, reader }) => moved(reader, half - start))
    await using pair = await socketPair()
    const late = spool.follow({ start: half, end: undefined })
    const waiting = late.transfer(() => pair.ours.fd, part)
    assert.ok(await waits(Promise.any([waiting, ...got])))
    await spool.append(content.subarray(1, half))
    for (const [index, { start }] of readers.entries()) {
      assert.ok((await got[index])?.equals(content.subarray(start, half)))
    }
    assert.ok(await waits(waiting))
    await spool.append(content.subarray(half, half + part))
    assert.deepEqual(await waiting, { bytes: part, full: false })
    assert.ok((await pair.theirs.receive(part)).equals(content.subarray(half, half + part)))
    for (const { reader } of [...readers, { reader: late }]) await reader.close()
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })

  it('never moves the last byte before it is released, and leaves it to a read afterwards', async () => {
    await using dir = await tempDir()
    const spool = await open(dir.path)
    const reader = spool.follow({ start: content.length - 2 * part, end: undefined })
    await write(spool)
    // It is told of growth some milliseconds later, and of a few bytes less it would move nothing.
    const all = spool.follow({ start: 0, end: content.length - 2 })
    assert.equal((await readAll(all)).length, content.length - 1)
    await using pair = await socketPair()
    assert.deepEqual(await reader.transfer(() => pair.ours.fd, 2 * part), { bytes: 2 * part - 1, full: false })
    const rest = reader.transfer(() => pair.ours.fd, 2 * part)
    assert.ok(await waits(rest))
    spool.release()
    assert.deepEqual(await rest, nothingMoved)
    assert.deepEqual(await reader.read(), content.subarray(-1))
    assert.deepEqual(await reader.transfer(() => pair.ours.fd, 1), nothingMoved)
    assert.equal(await reader.read(), undefined)
    await reader.close()
    await spool.close()
  })

  it('lets its reader cork a connection only when all of it is there', async () => {
    await using dir = await tempDir()
    const spool = await open(dir.path)
    await write(spool)
    await using pair = await socketPair()
    const reader = new FollowedBody({
      body: spool.follow(everything),
      start: 0,
      detour: () => assert.fail('nothing is wrong'),
      left: () => undefined,
    })
    assert.equal(reader.cork(pair.ours.fd), undefined)
    assert.ok(!isCorked(pair.ours.fd))
    spool.release()
    await until(() => spool.isWhole, 'all to be told of')
    const uncork = reader.cork(pair.ours.fd)
    assert.ok(isCorked(pair.ours.fd))
    uncork?.()
    assert.ok(!isCorked(pair.ours.fd))
    await reader.close()
    await spool.close()
  })

  it('moves no more than is asked for, by the caller or by the range', async () => {
    await using dir = await tempDir()
    const spool = await open(dir.path)
    await write(spool)
    await using pair = await socketPair()
    const reader = spool.follow({ start: 10, end: 2 * part + 9 })
    assert.deepEqual(await reader.transfer(() => pair.ours.fd, part), { bytes: part, full: false })
    assert.deepEqual(await reader.transfer(() => pair.ours.fd, 10 * part), { bytes: part, full: false })
    assert.deepEqual(await reader.transfer(() => pair.ours.fd, 10 * part), nothingMoved)
    assert.equal(await reader.read(), undefined)
    assert.ok((await pair.theirs.receive(2 * part)).equals(content.subarray(10, 2 * part + 10)))
    await reader.close()
    await spool.close()
  })

  it('takes turns with reads', async () => {
    await using dir = await tempDir()
    const spool = await open(dir.path)
    await write(spool)
    spool.release()
    await using pair = await socketPair()
    const received = pair.theirs.receive(content.length)
    const reader = spool.follow(everything)
    const count = { moved: 0, read: 0 }
    for (let left = content.length; left > 0; ) {
      const { bytes } = await reader.transfer(() => pair.ours.fd, Math.min(left, part + 30_000))
      count.moved += bytes
      left -= bytes
      const chunk = await reader.read()
      if (!chunk) break
      await pair.ours.write(chunk)
      count.read += chunk.length
      left -= chunk.length
    }
    pair.ours.socket.end()
    assert.ok((await received).equals(content))
    assert.equal(count.moved + count.read, content.length)
    // Reads have a smaller share: what is read between moves is not worth a large buffer.
    assert.ok(count.moved > content.length / 2 && count.read > 0)
    await reader.close()
    await spool.close()
  })

  for (const how of ['fail', 'reject'] as const) {
    it(`ends with the error, after ${how === 'fail' ? 'what there is' : 'nothing more'}, where it ${how}s`, async () => {
      await using dir = await tempDir()
      const spool = await open(dir.path)
      await using pair = await socketPair()
      const [first, second] = [spool.follow(everything), spool.follow({ start: part, end: undefined })]
      const waiting = second.transfer(() => pair.ours.fd, part)
      assert.ok(await waits(waiting))
      await spool.append(content.subarray(0, part))
      spool[how](new Error('upstream died'))
      await assert.rejects(waiting, /upstream died/)
      if (how === 'fail') assert.ok((await moved(first, part)).equals(content.subarray(0, part)))
      await assert.rejects(
        first.transfer(() => pair.ours.fd, part),
        /upstream died/,
      )
      await assert.rejects(first.read(), /upstream died/)
      pair.ours.socket.end()
      assert.equal((await pair.theirs.receive(1)).length, 0)
      await Promise.all([first.close(), second.close(), spool.close()])
      assert.equal(await openFiles(dir.path), 0)
    })
  }

  it('ends one that waits when its reader is closed', async () => {
    await using dir = await tempDir()
    const spool = await open(dir.path)
    await using pair = await socketPair()
    const reader = spool.follow(everything)
    const waiting = assert.rejects(
      reader.transfer(() => pair.ours.fd, part),
      ReaderClosed,
    )
    await reader.close()
    await waiting
    await assert.rejects(
      reader.transfer(() => pair.ours.fd, part),
      ReaderClosed,
    )
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })

  it('ends one that runs when its reader is closed, with what was moved', async () => {
    await using dir = await tempDir()
    const size = 40 * 1024 * KiB
    const spool = await open(dir.path, size)
    for (let at = 0; at < size; at += 1024 * KiB) await spool.append(content.subarray(0, 1024 * KiB))
    await using pair = await socketPair()
    const reader = spool.follow(everything)
    // More than the connection takes while nobody reads from it.
    const running = reader.transfer(() => pair.ours.fd, size)
    const first = await pair.theirs.receive(1024 * KiB)
    assert.ok(first.equals(content.subarray(0, 1024 * KiB)))
    let isOver = false
    void running.then(() => {
      isOver = true
    })
    await turns(20)
    assert.ok(!isOver)
    await reader.close()
    assert.ok(isOver)
    const { bytes, full } = await running
    assert.ok(full && bytes >= first.length && bytes < size)
    pair.ours.socket.end()
    assert.equal((await pair.theirs.receive(size)).length, bytes - first.length)
    await assert.rejects(
      reader.transfer(() => pair.ours.fd, size),
      ReaderClosed,
    )
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })
})

describe('the digest of a spool that is written', () => {
  for (const size of [1000, 1024 * 1024, content.length]) {
    it(`of ${size} bytes, and a hash to go on with, are had before release and after it`, async () => {
      await using dir = await tempDir()
      const bytes = content.subarray(0, size)
      const hex = createHash('sha256').update(bytes).digest('hex')
      for (const options of [{}, { ioThreads }]) {
        const spool = await Spool.create(join(dir.path, 'spool'), options)
        spool.hashFor(digestOf(bytes))
        await write(spool, 0, size)
        assert.equal((await spool.hashSoFar()).digest('hex'), hex)
        assert.equal(await spool.digest(), hex)
        spool.release()
        const more = (await spool.hashSoFar()).update('more').digest('hex')
        assert.equal(more, createHash('sha256').update(bytes).update('more').digest('hex'))
        await spool.close()
        assert.equal(await openFiles(dir.path), 0)
      }
    })
  }
})
