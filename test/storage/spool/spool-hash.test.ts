import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import type { BodyReader } from '../../../src/storage/body-reader.ts'
import { IoThreads } from '../../../src/storage/io-threads.ts'
import { type Relieve, Spool, SpoolUnwritable } from '../../../src/storage/spool/spool.ts'
import { mountTinyDisk } from '../../cache/support/tiny-disk.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { readAll } from '../../support/read-all.ts'
import { tempDir } from '../../support/temp.ts'
import { started, stayAlive, warm } from '../../support/threads.ts'

stayAlive()

const MiB = 1024 * 1024
const content = randomBlob(9 * MiB + 4321)
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

async function appendAll(spool: Spool, bytes: Buffer): Promise<void> {
  // Never the same length twice.
  for (let at = 0, turn = 1; at < bytes.length; turn += 1) {
    const end = at + 1 + ((turn * 104_729) % 500_000)
    await spool.append(bytes.subarray(at, end))
    at = end
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

async function spoolIn(
  path: string,
  { ioThreads, relieve }: { ioThreads: IoThreads; relieve?: Relieve },
): Promise<Spool> {
  const spool = await Spool.create(join(path, 'spool'), { ioThreads, ...(relieve && { relieve }) })
  spool.expect(content.length)
  spool.hashFor(digestOf(content))
  return spool
}

async function warmOffload(): Promise<IoThreads> {
  const ioThreads = new IoThreads()
  await warm(ioThreads.hashing)
  return ioThreads
}

describe('a spool that a thread hashes', () => {
  for (const told of [true, false]) {
    it(`has the right digest, where its size is ${told ? 'told' : 'not told'}`, async () => {
      await using dir = await tempDir()
      await using ioThreads = await warmOffload()
      const spool = await Spool.create(join(dir.path, 'spool'), { ioThreads })
      if (told) spool.expect(content.length)
      spool.hashFor(digestOf(content))
      await appendAll(spool, content)
      assert.equal(await spool.digest(), sha256(content))
      assert.equal((await spool.hashSoFar()).digest('hex'), sha256(content))
      spool.release()
      assert.ok((await readAll(spool.follow({ start: 0, end: undefined }))).equals(content))
      await spool.close()
      assert.equal(await openFiles(dir.path), 0)
    })
  }

  it('has the right digest where many are written at once', async () => {
    await using dir = await tempDir()
    await using ioThreads = await warmOffload()
    const all = Array.from({ length: 8 }, async (_, index) => {
      const bytes = content.subarray(index * 100_003)
      const spool = await Spool.create(join(dir.path, `${index}`), { ioThreads })
      spool.hashFor(digestOf(bytes))
      await appendAll(spool, bytes)
      assert.equal(await spool.digest(), sha256(bytes))
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
      await using ioThreads = await warmOffload()
      const spool = await spoolIn(dir.path, { ioThreads })
      await appendAll(spool, content.subarray(0, dies))
      const ended = all.threads[0]?.terminate()
      await appendAll(spool, content.subarray(dies))
      assert.equal(await spool.digest(), sha256(content))
      await ended
      await spool.close()
      assert.equal(await openFiles(dir.path), 0)
    })
  }

  it('has the digest of what it is, by the algorithm of what it should be', async () => {
    await using dir = await tempDir()
    await using ioThreads = await warmOffload()
    const spool = await Spool.create(join(dir.path, 'spool'), { ioThreads })
    spool.hashFor(`sha512:${'0'.repeat(128)}` as Digest)
    await appendAll(spool, content)
    assert.equal(await spool.digest(), createHash('sha512').update(content).digest('hex'))
    await spool.close()
  })

  it('is unwritable where it cannot be read back', async () => {
    await using dir = await tempDir()
    await using ioThreads = await warmOffload()
    const spool = await spoolIn(dir.path, { ioThreads })
    await spool.append(content.subarray(0, 100))
    await truncate(spool.path, 0)
    spool.grew(2 * MiB)
    await assert.rejects(spool.digest(), SpoolUnwritable)
    await spool.close()
  })

  it('is stored without what its writer wrote and did not tell of', async () => {
    await using dir = await tempDir()
    await using ioThreads = await warmOffload()
    const spool = await spoolIn(dir.path, { ioThreads })
    await appendAll(spool, content)
    await truncate(spool.path, content.length + 5)
    assert.equal(await spool.digest(), sha256(content))
    await spool.moveTo(join(dir.path, 'stored'))
    assert.ok((await readFile(join(dir.path, 'stored'))).equals(content))
    await spool.close()
  })
})

describe('a spool on a disk that is full', () => {
  it('goes on where room is made, with nothing doubled and nothing missing', async (test) => {
    const disk = await mountTinyDisk(32 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await mkdir(disk.path)
    await disk.fill(2_500_000)
    await using ioThreads = await warmOffload()
    const asked: number[] = []
    const relieve: Relieve = async (bytes) => {
      asked.push(bytes)
      // Told twice that there is room where there is none yet.
      if (asked.length === 3) await disk.free()
      return true
    }
    const spool = await spoolIn(disk.path, { ioThreads, relieve })
    const got = readAll(spool.follow({ start: 0, end: undefined }))
    await appendAll(spool, content)
    assert.deepEqual(asked, [MiB, MiB, MiB])
    assert.equal(await spool.digest(), sha256(content))
    spool.release()
    assert.ok((await got).equals(content))
    assert.ok((await readFile(spool.path)).equals(content))
    await spool.close()
    assert.equal(await openFiles(disk.path), 0)
  })

  it('stays readable up to what the disk took, and is hashed', async (test) => {
    const disk = await mountTinyDisk(32 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await mkdir(disk.path)
    await disk.fill(2_500_000)
    await using ioThreads = await warmOffload()
    let asked = 0
    const relieve = async (): Promise<boolean> => {
      asked += 1
      return false
    }
    const spool = await spoolIn(disk.path, { ioThreads, relieve })
    const reader = spool.follow({ start: 0, end: undefined })
    await assert.rejects(spool.append(content), (error: SpoolUnwritable) => {
      assert.ok(error instanceof SpoolUnwritable)
      assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOSPC')
      return true
    })
    const onDisk = (await stat(spool.path)).size
    assert.ok(onDisk > MiB && onDisk <= 2_600_000)
    assert.equal(spool.written, onDisk)
    const there = content.subarray(0, onDisk)
    assert.equal((await spool.hashSoFar()).digest('hex'), sha256(there))
    assert.equal(await spool.digest(), sha256(there))
    spool.fail(new Error('full'))
    assert.ok((await readUntilFailure(reader, /full/)).equals(there))
    await spool.close()
    assert.equal(asked, 1)
    assert.equal(await openFiles(disk.path), 0)
  })
})
