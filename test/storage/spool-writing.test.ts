import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { BodyReader } from '../../src/storage/blob-store.ts'
import { Offload } from '../../src/storage/offload.ts'
import { type Relieve, Spool, SpoolUnwritable } from '../../src/storage/spool.ts'
import { mountTinyDisk, type TinyDisk } from '../cache/support/tiny-disk.ts'
import { randomBlob } from '../support/image.ts'
import { openFiles } from '../support/open-files.ts'
import { readAll } from '../support/read-all.ts'
import { tempDir } from '../support/temp.ts'
import { sharedCopy, started, stayAlive, warm } from '../support/threads.ts'

stayAlive()

const MiB = 1024 * 1024
const content = randomBlob(9 * MiB + 4321)
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** As bodies come: in two buffers that take turns, each of them overwritten when its bytes are appended. */
class Pieces {
  readonly #buffers = [sharedCopy(Buffer.alloc(512 * 1024)), Buffer.alloc(512 * 1024)] as const
  #turn = 0

  next(bytes: Buffer): Buffer {
    this.#turn += 1
    const buffer = this.#buffers[this.#turn % 2] as Buffer
    // Never the whole of it, nor the same length twice.
    const length = 1 + ((this.#turn * 104_729) % (buffer.length - 1))
    const piece = buffer.subarray(0, Math.min(length, bytes.length))
    bytes.copy(piece, 0, 0, piece.length)
    return piece
  }
}

async function appendAll(spool: Spool, bytes: Buffer): Promise<void> {
  const pieces = new Pieces()
  for (let at = 0; at < bytes.length; ) {
    const piece = pieces.next(bytes.subarray(at))
    await spool.append(piece)
    at += piece.length
    piece.fill(0)
  }
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

  it('is closed when the append that runs is over', async () => {
    await using dir = await tempDir()
    await using offload = await warmOffload()
    const spool = await spoolIn(dir.path, { offload })
    await appendAll(spool, content.subarray(0, MiB))
    let isOver = false
    const running = spool.append(sharedCopy(content.subarray(MiB))).then(() => {
      isOver = true
    })
    await spool.close()
    assert.ok(isOver)
    await running
    assert.equal(await openFiles(dir.path), 0)
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
    const got = readAll(spool.follow({ start: 0, end: undefined }))
    await appendAll(spool, content)
    assert.equal(asked.length, 3)
    assert.equal(new Set(asked).size, 1)
    assert.ok((asked[0] ?? 0) > 0 && (asked[0] ?? 0) < 512 * 1024)
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
      const spool = await spoolIn(disk.path, { offload, relieve: async () => false })
      const early = spool.follow({ start: 0, end: undefined })
      await spool.append(sharedCopy(content.subarray(0, MiB)))
      const chunk = sharedCopy(content.subarray(MiB, 4 * MiB))
      await assert.rejects(spool.append(chunk), (error: SpoolUnwritable) => {
        assert.ok(error instanceof SpoolUnwritable)
        assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOSPC')
        return true
      })
      // It is the caller's again, and the spool has what it needs of it.
      chunk.fill(0)
      if (dies) await all.threads[0]?.terminate()
      const there = content.subarray(0, 4 * MiB)
      assert.equal(spool.written, there.length)
      const onDisk = (await stat(spool.path)).size
      assert.ok(onDisk > MiB && onDisk <= 2_600_000)
      assert.ok((await readFile(spool.path)).equals(content.subarray(0, onDisk)))
      assert.equal(
        (await spool.hashSoFar()).update('more').digest('hex'),
        sha256(Buffer.concat([there, Buffer.from('more')])),
      )
      assert.equal(await spool.digest(), sha256(there))
      await assert.rejects(spool.append(content.subarray(4 * MiB)), SpoolUnwritable)
      assert.equal(spool.written, there.length)
      const late = spool.follow({ start: 3 * MiB, end: undefined })
      spool.fail(new Error('full'))
      assert.ok((await readUntilFailure(early, /full/)).equals(there))
      assert.ok((await readUntilFailure(late, /full/)).equals(there.subarray(3 * MiB)))
      await spool.close()
      assert.equal(await openFiles(disk.path), 0)
    })
  }
})
