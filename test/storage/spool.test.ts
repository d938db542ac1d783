import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type BodyReader, ReaderClosed } from '../../src/storage/blob-store.ts'
import { Spool, SpoolUnwritable } from '../../src/storage/spool.ts'
import { tempDir } from '../support/temp.ts'

const content = randomBytes(5 * 1024 * 1024 + 17)
const everything = { start: 0, end: undefined }

async function readAll(reader: BodyReader): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } finally {
    await reader.close()
  }
}

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

/** How many descriptors this process has open below a folder. */
async function openFiles(path: string): Promise<number> {
  const { readlink } = await import('node:fs/promises')
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return links.filter((link) => link.startsWith(path)).length
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
