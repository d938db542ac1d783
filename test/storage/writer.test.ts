import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Algorithm, Digest } from '../../src/oci/digest.ts'
import type { BodyReader } from '../../src/storage/blob-store.ts'
import { SharedFile } from '../../src/storage/file.ts'
import { Follower } from '../../src/storage/follower.ts'
import { Writer } from '../../src/storage/writer.ts'
import { Writing, type WrittenFile } from '../../src/storage/writing.ts'
import { mountTinyDisk } from '../cache/support/tiny-disk.ts'
import { randomBlob } from '../support/image.ts'
import { openFiles } from '../support/open-files.ts'
import { tempDir } from '../support/temp.ts'
import { sharedCopy, started, stayAlive, warm } from '../support/threads.ts'

stayAlive()

const MiB = 1024 * 1024
const late = 64 * MiB
const content = randomBlob(5 * MiB + 3)

/** As it was claimed; what it is to be compared with matters to nobody here. */
const claimed = (algorithm: Algorithm = 'sha256'): Digest =>
  `${algorithm}:${createHash(algorithm).update('another').digest('hex')}` as Digest

function hexOf(bytes: Buffer, algorithm: Algorithm = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex')
}

/** Where its threads were given files, and how many they let go of. */
class CountedWriting extends Writing {
  readonly opened: number[] = []
  closed = 0

  override open(file: number, algorithm: Algorithm, size: number): WrittenFile | undefined {
    const opened = super.open(file, algorithm, size)
    if (!opened) return undefined
    this.opened.push(size)
    const close = (): void => {
      this.closed += 1
      opened.close()
    }
    return { ...opened, close }
  }

  static async warm(): Promise<CountedWriting> {
    const writing = new CountedWriting()
    await warm(writing)
    writing.opened.length = 0
    writing.closed = 0
    return writing
  }
}

/** A file of its own, with its writer. */
async function written(writing: Writing | undefined, algorithm: Algorithm | undefined = 'sha256', folder?: string) {
  const dir = folder === undefined ? await tempDir() : undefined
  const path = join(folder ?? dir?.path ?? '', 'file')
  const file = await SharedFile.open(path, 'wx+', undefined)
  const writer = new Writer(file, writing)
  writer.hashFor(claimed(algorithm))
  return {
    path,
    file,
    writer,
    reader: (size: number): BodyReader =>
      new Follower({ at: async (offset) => size - offset }, file.share(), { start: 0, end: undefined }),
    async [Symbol.asyncDispose]() {
      await file.release()
      // By its readers, too.
      assert.equal(await openFiles(path), 0)
      await dir?.[Symbol.asyncDispose]()
    },
  }
}

/** Appends what comes after `from`, in odd pieces, of memory that threads can see or cannot. */
async function appendAll(
  writer: Writer,
  bytes: Buffer,
  { from = 0, size, piece = 100_000 }: { from?: number; size?: number | undefined; piece?: number } = {},
): Promise<void> {
  for (let at = from, turn = 0; at < bytes.length; turn += 1) {
    const chunk = bytes.subarray(at, at + piece)
    at += await writer.append(turn % 2 === 0 ? sharedCopy(chunk) : Buffer.from(chunk), { position: at, size })
  }
}

describe('Writer', () => {
  for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
    for (const told of [true, false]) {
      it(`has the ${algorithm} of small and large files whose size is ${told ? 'told' : 'not told'} before`, async () => {
        await using writing = await CountedWriting.warm()
        for (const size of [0, 1, MiB - 1, MiB, MiB + 1, content.length]) {
          await using test = await written(writing, algorithm)
          const bytes = content.subarray(0, size)
          await appendAll(test.writer, bytes, { size: told ? size : undefined })
          for (const _ of ['once', 'again']) assert.equal(await test.writer.digest(), hexOf(bytes, algorithm))
          assert.ok((await readFile(test.path)).equals(bytes))
          await test.writer.close()
          // A thread for what is worth it, from the start or from when that shows.
          assert.deepEqual(writing.opened.splice(0), size <= MiB ? [] : [told ? 0 : 1_000_000])
        }
      })
    }
  }

  it('does without a thread', async () => {
    await using test = await written(undefined)
    await appendAll(test.writer, content, { size: content.length })
    assert.equal(await test.writer.digest(), hexOf(content))
    assert.ok((await readFile(test.path)).equals(content))
    await test.writer.close()
  })

  it('writes what nobody wants hashed without a thread', async () => {
    await using writing = await CountedWriting.warm()
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    const file = await SharedFile.open(path, 'wx+', undefined)
    const writer = new Writer(file, writing)
    await appendAll(writer, content, { size: content.length })
    await writer.close()
    await file.release()
    assert.ok((await readFile(path)).equals(content))
    assert.deepEqual(writing.opened, [])
  })

  it('passes a file on to a thread that starts meanwhile', async () => {
    await using writing = new CountedWriting()
    await using test = await written(writing)
    const size = content.length
    await appendAll(test.writer, content.subarray(0, 1_500_001), { size })
    assert.deepEqual(writing.opened, [])
    await warm(writing)
    writing.opened.length = 0
    await appendAll(test.writer, content, { from: 1_500_001, size })
    assert.deepEqual(writing.opened, [1_500_001])
    assert.equal(await test.writer.digest(), hexOf(content))
    assert.ok((await readFile(test.path)).equals(content))
    await test.writer.close()
  })

  it('keeps a file whose beginning is too much to be read back, and passes on what is just not', async () => {
    await using writing = await CountedWriting.warm()
    const chunk = Buffer.from('0123456789')
    const zeros = createHash('sha256')
    for (let mib = 0; mib < 64; mib += 1) zeros.update(Buffer.alloc(MiB))
    for (const position of [late, late + 1]) {
      await using test = await written(writing)
      // Takes no room.
      await truncate(test.path, position)
      assert.equal(await test.writer.append(chunk, { position, size: undefined }), chunk.length)
      assert.deepEqual(writing.opened.splice(0), position === late ? [late] : [])
      // Here, nothing but the chunk was hashed.
      const hash = position === late ? zeros : createHash('sha256')
      assert.equal(await test.writer.digest(), hash.update(chunk).digest('hex'))
      await test.writer.close()
      assert.deepEqual((await readFile(test.path)).subarray(position), chunk)
    }
  })

  it('rejects with what the system says, here and in a thread', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    await writeFile(path, 'x')
    await using writing = await CountedWriting.warm()
    for (const threads of [undefined, writing]) {
      const file = await SharedFile.open(path, 'r', undefined)
      const writer = new Writer(file, threads)
      writer.hashFor(claimed())
      for (let turn = 0; turn < 2; turn += 1) {
        await assert.rejects(writer.append(Buffer.from('y'), { position: 0, size: content.length }), { code: 'EBADF' })
      }
      await writer.close()
      await file.release()
    }
    assert.deepEqual(writing.opened, [0])
    assert.equal(await readFile(path, 'utf8'), 'x')
  })

  for (const how of ['here', 'in a thread'] as const) {
    it(`is right of a file that is written ${how}, where the disk was full for a while`, async (test) => {
      const disk = await mountTinyDisk(16 * MiB)
      if (typeof disk === 'string') return test.skip(disk)
      await using _disk = disk
      await mkdir(disk.path)
      await using writing = await CountedWriting.warm()
      await using small = await written(how === 'here' ? undefined : writing, 'sha256', disk.path)
      const where = (position: number) => ({ position, size: content.length })
      await disk.fill(2 * MiB)
      let at = 0
      let refusals = 0
      while (at < content.length) {
        const chunk = sharedCopy(content.subarray(at, at + 3 * MiB))
        const bytes = await small.writer.append(chunk, where(at)).catch(async (error) => {
          assert.equal(error.code, 'ENOSPC')
          refusals += 1
          if (refusals === 2) await disk.free()
          return 0
        })
        at += bytes
      }
      assert.equal(refusals, 2)
      assert.equal(await small.writer.digest(), hexOf(content))
      assert.ok((await readFile(small.path)).equals(content))
      await small.writer.close()
    })
  }

  for (const { name, moment } of [
    { name: 'before it is asked', moment: (ends: () => Promise<unknown>) => ends() },
    { name: 'when it is asked', moment: (ends: () => Promise<unknown>) => void ends() },
    { name: 'while it writes', moment: (ends: () => Promise<unknown>) => void setTimeout(ends, 3) },
  ]) {
    it(`writes on where its thread dies ${name}`, async () => {
      using all = started()
      const deaths: Error[] = []
      await using writing = new Writing((error) => deaths.push(error))
      await warm(writing)
      await using test = await written(writing)
      // More than is written within so short a time.
      const large = Buffer.concat([content.subarray(0, 500_000), Buffer.alloc(48 * MiB, 7), content])
      const size = large.length
      await appendAll(test.writer, large.subarray(0, 500_000), { size })
      await moment(async () => await all.threads[0]?.terminate())
      await appendAll(test.writer, large, { from: 500_000, size, piece: 48 * MiB })
      assert.equal(deaths.length, 1)
      await assert.rejects(test.writer.digest(), /has died/)
      assert.equal((await test.writer.soFar(test.reader(size), undefined)).digest('hex'), hexOf(large))
      assert.ok((await readFile(test.path)).equals(large))
      await test.writer.close()
    })
  }

  it('is right whenever its thread dies', async () => {
    for (let turn = 0; turn < 12; turn += 1) {
      using all = started()
      await using writing = new Writing()
      await warm(writing)
      await using test = await written(writing)
      const size = content.length
      setTimeout(() => void all.threads[0]?.terminate(), turn / 2)
      await appendAll(test.writer, content, { size, piece: 50_000 })
      assert.equal((await test.writer.soFar(test.reader(size), undefined)).digest('hex'), hexOf(content))
      assert.ok((await readFile(test.path)).equals(content))
      await test.writer.close()
    }
  })

  it('rejects the digest where its thread dies when asked for it', async () => {
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    await appendAll(test.writer, content, { size: content.length })
    await using other = await written(undefined)
    // The thread has something else to do first.
    const busy = writing.open(other.file.fd, 'sha256', 0)?.append(sharedCopy(Buffer.alloc(32 * MiB)))
    const rejected = [busy, test.writer.digest()].map((asked) => assert.rejects(async () => await asked, /has died/))
    await writing[Symbol.asyncDispose]()
    await Promise.all(rejected)
    assert.equal((await test.writer.soFar(test.reader(content.length), undefined)).digest('hex'), hexOf(content))
    await test.writer.close()
  })

  for (const how of ['here', 'in a thread'] as const) {
    it(`gives a hash to go on with of what is written ${how} and more, and closes what it was given to read`, async () => {
      await using writing = await CountedWriting.warm()
      await using test = await written(how === 'here' ? undefined : writing)
      const [there, more] = [content.subarray(0, 2 * MiB), content.subarray(2 * MiB)]
      await appendAll(test.writer, there, { size: content.length })
      const all = (): BodyReader => {
        const reader = test.reader(there.length)
        let isMoreRead = false
        return {
          read: async () => {
            const chunk = await reader.read()
            if (chunk || isMoreRead) return chunk
            isMoreRead = true
            return more
          },
          transfer: reader.transfer.bind(reader),
          close: () => reader.close(),
        }
      }
      const hash = await test.writer.soFar(all(), more)
      assert.equal(hash.update('and on').digest('hex'), hexOf(Buffer.concat([content, Buffer.from('and on')])))
      // And once more: it was a copy.
      assert.equal((await test.writer.soFar(all(), more)).digest('hex'), hexOf(content))
      const some = await test.writer.soFar(test.reader(there.length), undefined)
      assert.equal(some.digest('hex'), hexOf(there))
      await test.writer.close()
    })
  }

  it('is closed when the append that runs is over, and then nobody touches the number', async () => {
    await using dir = await tempDir()
    await using writing = await CountedWriting.warm()
    const blocker = await SharedFile.open(join(dir.path, 'blocker'), 'wx+', undefined)
    const path = join(dir.path, 'file')
    const file = await SharedFile.open(path, 'wx+', undefined)
    const { fd } = file
    const writer = new Writer(file, writing)
    writer.hashFor(claimed())
    const ahead = writing.open(blocker.fd, 'sha256', 0)
    const first = sharedCopy(content.subarray(0, MiB))
    await writer.append(first, { position: 0, size: content.length })
    assert.deepEqual(writing.opened, [0, 0])
    // The thread has something else to do first.
    const large = ahead?.append(sharedCopy(Buffer.alloc(32 * MiB)))
    let isOver = false
    const running = writer.append(sharedCopy(content.subarray(MiB)), { position: MiB, size: content.length })
    void running.then(() => {
      isOver = true
    })
    await writer.close()
    assert.ok(isOver)
    await file.release()
    const other = join(dir.path, 'other')
    const reused = openSync(other, 'wx+')
    assert.equal(reused, fd)
    await large
    await ahead?.digest()
    assert.equal((await stat(other)).size, 0)
    assert.ok((await readFile(path)).equals(content))
    closeSync(reused)
    await blocker.release()
  })

  it('has the thread let go of its file once, however often it is closed', async () => {
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    await appendAll(test.writer, content, { size: content.length })
    assert.equal(writing.closed, 0)
    for (const _ of ['once', 'again']) await test.writer.close()
    // By now the number may be another file's.
    assert.equal(writing.closed, 1)
  })

  it('is closed though the append that runs fails', async () => {
    await using dir = await tempDir()
    await using writing = await CountedWriting.warm()
    const path = join(dir.path, 'file')
    await writeFile(path, '')
    for (const threads of [undefined, writing]) {
      const file = await SharedFile.open(path, 'r', undefined)
      const writer = new Writer(file, threads)
      writer.hashFor(claimed())
      const failing = assert.rejects(writer.append(content, { position: 0, size: content.length }), { code: 'EBADF' })
      await writer.close()
      await failing
      await writer.close()
      await file.release()
    }
  })

  it('gives a number that is used again at once to the new file only', async () => {
    await using writing = await CountedWriting.warm()
    for (let turn = 0; turn < 10; turn += 1) {
      await using test = await written(writing)
      const bytes = content.subarray(turn * 1000)
      await appendAll(test.writer, bytes, { size: bytes.length, piece: 1_000_000 })
      const digest = turn % 2 === 0 ? test.writer.digest() : undefined
      if (digest) assert.equal(await digest, hexOf(bytes))
      await test.writer.close()
      assert.ok((await readFile(test.path)).equals(bytes))
    }
    assert.equal(writing.opened.length, 10)
  })
})
