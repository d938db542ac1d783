import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import type { BodyReader } from '../../../src/storage/body-reader.ts'
import { Offload } from '../../../src/storage/io-threads.ts'
import { type Relieve, Spool, SpoolUnwritable } from '../../../src/storage/spool/spool.ts'
import { mountTinyDisk, type TinyDisk } from '../../cache/support/tiny-disk.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { readAll } from '../../support/read-all.ts'
import { sizes } from '../../support/rings.ts'
import { tempDir } from '../../support/temp.ts'
import { block, receiveAll, started, stayAlive, warm } from '../../support/threads.ts'

stayAlive()

const MiB = 1024 * 1024
/** More than a disk that is almost full and the memory take together. */
const content = randomBlob(2 * sizes.large + 5 * MiB + 4321)
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** As bodies come: in a buffer that is overwritten when its bytes are appended, or right where the spool wants them. */
async function appendAll(spool: Spool, bytes: Buffer): Promise<void> {
  const buffer = Buffer.alloc(512 * 1024)
  for (let at = 0, turn = 1; at < bytes.length; turn += 1) {
    // Never the same length twice.
    const piece = buffer.subarray(0, 1 + ((turn * 104_729) % (buffer.length - 1)))
    const length = bytes.copy(piece, 0, at)
    const { memory } = spool
    if (memory && turn % 3 > 0) await receiveAll(memory, piece.subarray(0, length), (chunk) => spool.append(chunk))
    else await spool.append(piece.subarray(0, length))
    piece.fill(0)
    at += length
  }
}

/** Whether it still waits when the event loop has turned a few times. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  let isOver = false
  const over = (): void => {
    isOver = true
  }
  work.then(over, over)
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  return !isOver
}

/** All there is before it fails. */
async function readUntilFailure(reader: BodyReader, error: RegExp): Promise<Buffer> {
  const chunks: Buffer[] = []
  await assert.rejects(async () => {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
  }, error)
  await reader.close()
  return Buffer.concat(chunks)
}

async function spoolIn(path: string, { offload, relieve }: { offload: Offload; relieve?: Relieve }): Promise<Spool> {
  const spool = await Spool.create(join(path, 'spool'), { offload, ...(relieve && { relieve }) })
  spool.expect(content.length)
  spool.hashFor(digestOf(content))
  return spool
}

async function warmOffload(): Promise<Offload> {
  const offload = new Offload()
  await warm(offload.writing)
  return offload
}

describe('a spool that a thread writes', () => {
  for (const told of [true, false]) {
    it(`is right, and so is what its readers get meanwhile, where its size is ${told ? 'told' : 'not told'}`, async () => {
      await using dir = await tempDir()
      await using offload = await warmOffload()
      const spool = await Spool.create(join(dir.path, 'spool'), { offload })
      if (told) spool.expect(content.length)
      spool.hashFor(digestOf(content))
      const spans = [0, 1, 3_000_000, 8_999_999].map((start) => ({ start, end: undefined }))
      const got = [...spans, { start: 1_000_000, end: 5_000_000 }].map((span) => readAll(spool.follow(span)))
      await appendAll(spool, content)
      assert.equal(spool.written, content.length)
      assert.equal(await spool.digest(), sha256(content))
      assert.equal((await spool.hashSoFar()).digest('hex'), sha256(content))
      spool.release()
      for (const [index, { start }] of spans.entries()) {
        assert.ok((await got[index])?.equals(content.subarray(start)), `from ${start}`)
      }
      assert.ok((await got.at(-1))?.equals(content.subarray(1_000_000, 5_000_001)))
      const path = join(dir.path, 'stored')
      await spool.moveTo(path)
      await spool.close()
      assert.ok((await readFile(path)).equals(content))
      assert.equal(await openFiles(dir.path), 0)
    })
  }

  it('is right where many are written at once', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const all = Array.from({ length: 8 }, async (_, index) => {
      const bytes = content.subarray(index * 100_003)
      const spool = await Spool.create(join(dir.path, `${index}`), { offload })
      spool.expect(bytes.length)
      spool.hashFor(digestOf(bytes))
      const got = readAll(spool.follow({ start: 0, end: undefined }))
      await appendAll(spool, bytes)
      assert.equal(await spool.digest(), sha256(bytes))
      spool.release()
      assert.ok((await got).equals(bytes))
      await spool.close()
    })
    await Promise.all(all)
    assert.equal(await openFiles(dir.path), 0)
  })

  for (const { name, dies } of [
    { name: 'while it is written', dies: 4 * MiB },
    { name: 'before its digest is asked for', dies: content.length },
  ]) {
    it(`has the right digest though the thread dies ${name}`, async () => {
      await using dir = await tempDir()
      using all = started()
      await using offload = await warmOffload()
      const spool = await spoolIn(dir.path, { offload })
      const got = readAll(spool.follow({ start: 0, end: undefined }))
      await appendAll(spool, content.subarray(0, dies))
      const ended = all.threads[0]?.terminate()
      if (dies < content.length) await appendAll(spool, content.subarray(dies))
      assert.equal(await spool.digest(), sha256(content))
      await ended
      spool.release()
      assert.ok((await got).equals(content))
      assert.equal((await spool.hashSoFar()).digest('hex'), sha256(content))
      await spool.close()
      assert.equal(await openFiles(dir.path), 0)
    })
  }

  it('shows nobody what is not in the file yet, and then all of it, though nothing more comes', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const spool = await spoolIn(dir.path, { offload })
    await spool.append(content.subarray(0, 1000))
    await using blocker = await block(offload.writing, join(dir.path, 'blocker'))
    await spool.append(content.subarray(1000, 200_000))
    assert.equal(spool.written, 200_000)
    const reader = spool.follow({ start: 0, end: undefined })
    const first = await reader.read()
    assert.ok(first?.equals(content.subarray(0, 1000)))
    const second = reader.read()
    assert.ok(await waits(second))
    spool.fail(new Error('cut'))
    assert.ok(await waits(second))
    await blocker.over
    const got = Buffer.from((await second) ?? '')
    const rest = await readUntilFailure(reader, /cut/)
    assert.ok(Buffer.concat([got, rest]).equals(content.subarray(1000, 200_000)))
    await spool.close()
  })

  for (const how of ['fails', 'is right'] as const) {
    it(`gives its readers every byte that was appended when it ${how} and is closed while the thread is busy`, async () => {
      await using dir = await tempDir()
      await using offload = await warmOffload()
      const spool = await Spool.create(join(dir.path, 'spool'), { offload })
      spool.hashFor(digestOf(content))
      await appendAll(spool, content.subarray(0, 2 * MiB))
      await using _blocker = await block(offload.writing, join(dir.path, 'blocker'))
      await spool.append(content.subarray(2 * MiB, 2 * MiB + 200_000))
      const there = content.subarray(0, 2 * MiB + 200_000)
      const reader = spool.follow({ start: 0, end: undefined })
      if (how === 'fails') spool.fail(new Error('cut'))
      else spool.release()
      const closing = spool.close()
      const got = how === 'fails' ? readUntilFailure(reader, /cut/) : readAll(reader)
      assert.ok((await got).equals(there))
      await closing
      assert.equal(await openFiles(join(dir.path, 'spool')), 0)
    })
  }

  it('gives its readers every byte that was appended where its thread dies and it fails', async () => {
    await using dir = await tempDir()
    using all = started()
    await using offload = await warmOffload()
    const spool = await spoolIn(dir.path, { offload })
    await appendAll(spool, content.subarray(0, 2 * MiB))
    await using _blocker = await block(offload.writing, join(dir.path, 'blocker'))
    await spool.append(content.subarray(2 * MiB, 2 * MiB + 200_000))
    const reader = spool.follow({ start: 0, end: undefined })
    await all.threads[0]?.terminate()
    spool.fail(new Error('cut'))
    await spool.close()
    assert.ok((await readUntilFailure(reader, /cut/)).equals(content.subarray(0, 2 * MiB + 200_000)))
    assert.equal(await openFiles(join(dir.path, 'spool')), 0)
  })

  it('gives no byte any more when it is rejected, and is closed without waiting for them', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const spool = await spoolIn(dir.path, { offload })
    await appendAll(spool, content.subarray(0, 2 * MiB))
    const reader = spool.follow({ start: 0, end: undefined })
    await spool.append(content.subarray(2 * MiB, 2 * MiB + 200_000))
    spool.reject(new Error('wrong'))
    await assert.rejects(reader.read(), /wrong/)
    await reader.close()
    await spool.close()
    assert.equal(await openFiles(dir.path), 0)
  })

  it('tells its readers of the first bytes at once, then of 1 MiB, or of what there is after 10 ms', {
    timeout: 20_000,
  }, async (test) => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    for (const threads of [undefined, offload]) {
      test.mock.timers.enable({ apis: ['setTimeout'] })
      const spool = await Spool.create(join(dir.path, 'spool'), threads ? { offload: threads } : {})
      if (threads) spool.hashFor(digestOf(content))
      spool.expect(content.length)
      let there = 0
      const append = async (to: number): Promise<void> => {
        for (; there < to; there = Math.min(there + 100_000, to)) {
          await spool.append(content.subarray(there, Math.min(there + 100_000, to)))
        }
      }
      const reader = spool.follow({ start: 0, end: undefined })
      await append(1)
      assert.equal((await reader.read())?.length, 1)
      const small = reader.read()
      await append(MiB)
      assert.ok(await waits(small))
      test.mock.timers.tick(9)
      assert.ok(await waits(small))
      test.mock.timers.tick(1)
      if (!threads) await small
      // The thread may be behind.
      while (await waits(small)) test.mock.timers.tick(10)
      for (let at = 1 + ((await small)?.length ?? 0); at < MiB; ) {
        const next = reader.read()
        while (await waits(next)) test.mock.timers.tick(10)
        at += (await next)?.length ?? 0
      }
      const large = reader.read()
      await append(2 * MiB - 1)
      await spool.append(Buffer.alloc(0))
      assert.ok(await waits(large))
      await append(2 * MiB)
      while (await waits(large)) await spool.append(Buffer.alloc(0))
      await large
      test.mock.timers.reset()
      await reader.close()
      await spool.close()
    }
  })

  it('leaves no timer and no descriptor behind', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    for (const how of ['release', 'fail', 'reject', 'close'] as const) {
      for (const threads of [undefined, offload]) {
        const before = timers()
        const spool = await Spool.create(join(dir.path, 'spool'), threads ? { offload: threads } : {})
        spool.hashFor(digestOf(content))
        await spool.append(content.subarray(0, 2 * MiB))
        await spool.append(content.subarray(2 * MiB, 2 * MiB + 100_000))
        if (how !== 'close') spool[how](new Error('over'))
        await spool.close()
        assert.equal(timers(), before)
        assert.equal(await openFiles(dir.path), 0)
      }
    }
  })

  for (const first of [0, MiB]) {
    it(`is closed when the append that runs after ${first} bytes is over`, async () => {
      await using dir = await tempDir()
      await using offload = await warmOffload()
      const spool = await spoolIn(dir.path, { offload })
      await appendAll(spool, content.subarray(0, first))
      let isOver = false
      const running = spool.append(content.subarray(first)).then(() => {
        isOver = true
      })
      await spool.close()
      assert.ok(isOver)
      await running
      assert.equal(await openFiles(dir.path), 0)
    })
  }

  it('is moved with all that was appended, though nobody asked for its digest', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const spool = await spoolIn(dir.path, { offload })
    await appendAll(spool, content.subarray(0, -1000))
    await using _blocker = await block(offload.writing, join(dir.path, 'blocker'))
    await spool.append(content.subarray(-1000))
    const path = join(dir.path, 'stored')
    await spool.moveTo(path)
    assert.ok((await readFile(path)).equals(content))
    await spool.close()
  })

  it('is not the digest of another where the claimed one is wrong', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const spool = await Spool.create(join(dir.path, 'spool'), { offload })
    spool.hashFor(`sha512:${'0'.repeat(128)}` as Digest)
    await appendAll(spool, content)
    assert.equal(await spool.digest(), createHash('sha512').update(content).digest('hex'))
    await spool.close()
  })
})

describe('a spool that a thread writes to a disk that is full', () => {
  async function tinyDisk(left: number): Promise<TinyDisk | string> {
    const disk = await mountTinyDisk(32 * MiB)
    if (typeof disk === 'string') return disk
    await mkdir(disk.path)
    await disk.fill(left)
    return disk
  }

  it('goes on where room is made, with nothing doubled and nothing missing', async (test) => {
    const disk = await tinyDisk(2_500_000)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using offload = await warmOffload()
    const asked: number[] = []
    const relieve: Relieve = async (bytes) => {
      asked.push(bytes)
      // Told twice that there is room where there is none yet.
      if (asked.length === 3) await disk.free()
      return true
    }
    const spool = await spoolIn(disk.path, { offload, relieve })
    const ring = spool.memory?.memory.bytes.byteLength ?? 0
    assert.ok(ring > 0)
    const got = readAll(spool.follow({ start: 0, end: undefined }))
    await appendAll(spool, content)
    assert.equal(asked.length, 3)
    // Nothing is written meanwhile, while what comes may still find room in memory.
    assert.deepEqual(
      asked,
      asked.toSorted((one, other) => one - other),
    )
    assert.ok((asked[0] ?? 0) > 0 && (asked[2] ?? 0) <= ring + 512 * 1024)
    assert.equal(spool.written, content.length)
    assert.equal(await spool.digest(), sha256(content))
    spool.release()
    assert.ok((await got).equals(content))
    assert.ok((await readFile(spool.path)).equals(content))
    await spool.close()
    assert.equal(await openFiles(disk.path), 0)
  })

  for (const dies of [false, true]) {
    it(`stays readable to the last byte that came, and is hashed${dies ? ', though the thread dies' : ''}`, async (test) => {
      const disk = await tinyDisk(2_500_000)
      if (typeof disk === 'string') return test.skip(disk)
      await using _disk = disk
      using all = started()
      await using offload = await warmOffload()
      let asked = 0
      const relieve = async (): Promise<boolean> => {
        asked += 1
        return false
      }
      const spool = await spoolIn(disk.path, { offload, relieve })
      const early = spool.follow({ start: 0, end: undefined })
      await spool.append(content.subarray(0, MiB))
      // More than there is room for, on the disk and in memory.
      const end = 3 * MiB + (spool.memory?.memory.bytes.byteLength ?? assert.fail())
      const chunk = Buffer.from(content.subarray(MiB, end))
      await assert.rejects(spool.append(chunk), (error: SpoolUnwritable) => {
        assert.ok(error instanceof SpoolUnwritable)
        assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOSPC')
        return true
      })
      // It is the caller's again, and the spool has what it needs of it.
      chunk.fill(0)
      if (dies) await all.threads[0]?.terminate()
      const there = content.subarray(0, end)
      assert.equal(spool.written, there.length)
      const onDisk = (await stat(spool.path)).size
      assert.ok(onDisk > MiB && onDisk <= 2_600_000)
      assert.ok((await readFile(spool.path)).equals(content.subarray(0, onDisk)))
      assert.equal(
        (await spool.hashSoFar()).update('more').digest('hex'),
        sha256(Buffer.concat([there, Buffer.from('more')])),
      )
      assert.equal(await spool.digest(), sha256(there))
      await assert.rejects(spool.append(content.subarray(end)), SpoolUnwritable)
      assert.equal(spool.written, there.length)
      const late = spool.follow({ start: 3 * MiB, end: undefined })
      spool.fail(new Error('full'))
      assert.ok((await readUntilFailure(early, /full/)).equals(there))
      assert.ok((await readUntilFailure(late, /full/)).equals(there.subarray(3 * MiB)))
      await spool.close()
      assert.equal(asked, 1)
      assert.equal(await openFiles(disk.path), 0)
    })
  }
})
