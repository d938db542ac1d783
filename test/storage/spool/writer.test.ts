import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Algorithm, Digest } from '../../../src/oci/digest.ts'
import type { BodyReader } from '../../../src/storage/body-reader.ts'
import { SharedFile } from '../../../src/storage/file.ts'
import { Follower } from '../../../src/storage/spool/follower.ts'
import type { Ring } from '../../../src/storage/spool/ring.ts'
import { Writer } from '../../../src/storage/spool/writer.ts'
import { Writing, type WrittenFile } from '../../../src/storage/spool/writing.ts'
import { mountTinyDisk } from '../../cache/support/tiny-disk.ts'
import { randomBlob } from '../../support/image.ts'
import { openFiles } from '../../support/open-files.ts'
import { sizes } from '../../support/rings.ts'
import { tempDir } from '../../support/temp.ts'
import { block, openAs, receiveAll, started, stayAlive, warm } from '../../support/threads.ts'

stayAlive()

const MiB = 1024 * 1024
const late = 64 * MiB
/** More than a disk that is almost full and the memory take together. */
const content = randomBlob(2 * sizes.large + MiB + 3)

/** As it was claimed; what it is to be compared with matters to nobody here. */
const claimed = (algorithm: Algorithm = 'sha256'): Digest =>
  `${algorithm}:${createHash(algorithm).update('another').digest('hex')}` as Digest

function hexOf(bytes: Buffer, algorithm: Algorithm = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex')
}

/** Knows where its threads were given files. */
class CountedWriting extends Writing {
  readonly opened: number[] = []
  isBusy = false

  override open(file: number, algorithm: Algorithm, size: number): WrittenFile | undefined {
    const opened = this.isBusy ? undefined : super.open(file, algorithm, size)
    if (opened) this.opened.push(size)
    return opened
  }

  static async warm(): Promise<CountedWriting> {
    const writing = new CountedWriting()
    await warm(writing)
    writing.opened.length = 0
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
      new Follower({ isWhole: false, at: async (offset) => size - offset }, file.share(), { start: 0, end: undefined }),
    async [Symbol.asyncDispose]() {
      await file.release()
      // By its readers, too.
      assert.equal(await openFiles(path), 0)
      await dir?.[Symbol.asyncDispose]()
    },
  }
}

/** Appends what comes after `from`, in odd pieces, which are received where they belong, or kept there, or neither. */
async function appendAll(
  writer: Writer,
  bytes: Buffer,
  { from = 0, piece = 100_000 }: { from?: number; piece?: number } = {},
): Promise<void> {
  for (let at = from, turn = 0; at < bytes.length; turn += 1) {
    const chunk = bytes.subarray(at, at + piece)
    const { memory } = writer
    if (memory && turn % 3 === 0) await receiveAll(memory, chunk, (received) => writer.append(received))
    else await writer.append(memory && turn % 3 === 1 ? memory.keep(chunk) : Buffer.from(chunk))
    at += chunk.length
  }
}

function inMemory(writer: Writer): Ring {
  const { memory } = writer
  assert.ok(memory)
  return memory
}

describe('Writer', () => {
  for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
    for (const told of [true, false]) {
      it(`has the ${algorithm} of small and large files whose size is ${told ? 'told' : 'not told'} before`, async () => {
        await using writing = await CountedWriting.warm()
        for (const size of [0, 1, MiB - 1, MiB, MiB + 1, content.length]) {
          await using test = await written(writing, algorithm)
          const bytes = content.subarray(0, size)
          if (told) test.writer.expect(size)
          await appendAll(test.writer, bytes)
          await test.writer.flush()
          assert.equal(test.writer.written, size)
          assert.equal(test.writer.rest().length, 0)
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
    test.writer.expect(content.length)
    assert.equal(test.writer.memory, undefined)
    await appendAll(test.writer, content)
    await test.writer.flush()
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
    writer.expect(content.length)
    assert.equal(writer.memory, undefined)
    await appendAll(writer, content)
    await writer.close()
    await file.release()
    assert.ok((await readFile(path)).equals(content))
    assert.deepEqual(writing.opened, [])
  })

  it('passes a file on to a thread that starts meanwhile', async () => {
    await using writing = new CountedWriting()
    await using test = await written(writing)
    test.writer.expect(content.length)
    writing.isBusy = true
    await appendAll(test.writer, content.subarray(0, 1_500_001))
    assert.equal(test.writer.memory, undefined)
    writing.isBusy = false
    await warm(writing)
    writing.opened.length = 0
    await appendAll(test.writer, content, { from: 1_500_001 })
    assert.deepEqual(writing.opened, [1_500_001])
    await test.writer.flush()
    assert.equal(await test.writer.digest(), hexOf(content))
    assert.ok((await readFile(test.path)).equals(content))
    await test.writer.close()
  })

  it('keeps a file whose beginning is too much to be read back, and passes on what is just not', async () => {
    await using writing = await CountedWriting.warm()
    for (const position of [late, late + 1]) {
      await using test = await written(writing)
      writing.isBusy = true
      const hash = createHash('sha256')
      for (let at = 0; at < position; at += MiB) {
        const chunk = Buffer.alloc(Math.min(MiB, position - at))
        hash.update(chunk)
        await test.writer.append(chunk)
      }
      writing.isBusy = false
      await test.writer.append(Buffer.from('0123456789'))
      assert.deepEqual(writing.opened.splice(0), position === late ? [late] : [])
      await test.writer.flush()
      assert.equal(await test.writer.digest(), hash.update('0123456789').digest('hex'))
      assert.equal(test.writer.written, position + 10)
      await test.writer.close()
    }
  })

  it('rejects with what the system says, here and in a thread, and keeps what it refused', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    await writeFile(path, 'x')
    await using writing = await CountedWriting.warm()
    for (const threads of [undefined, writing]) {
      const file = await SharedFile.open(path, 'r', undefined)
      const writer = new Writer(file, threads)
      writer.hashFor(claimed())
      writer.expect(content.length)
      const appended = writer.append(Buffer.from('y'))
      if (threads) await appended
      else await assert.rejects(appended, { code: 'EBADF' })
      for (let turn = 0; turn < 3; turn += 1) {
        await assert.rejects(writer.flush(), { code: 'EBADF' })
        assert.equal(writer.rest().toString(), 'y')
        assert.equal(writer.written, 0)
      }
      await writer.close()
      await file.release()
    }
    assert.deepEqual(writing.opened, [0])
    assert.equal(await readFile(path, 'utf8'), 'x')
  })

  for (const how of ['here', 'in a thread', 'by a thread that has died'] as const) {
    it(`is right of a file that is written ${how}, where the disk was full for a while`, async (test) => {
      const disk = await mountTinyDisk(16 * MiB)
      if (typeof disk === 'string') return test.skip(disk)
      await using _disk = disk
      using all = started()
      await mkdir(disk.path)
      await using writing = await CountedWriting.warm()
      await using full = await written(how === 'here' ? undefined : writing, 'sha256', disk.path)
      const { writer } = full
      writer.expect(content.length)
      const { memory } = writer
      await disk.fill(2 * MiB)
      if (how === 'by a thread that has died') await all.threads[0]?.terminate()
      let appended = 0
      let refusals = 0
      const append = async (chunk: Buffer): Promise<void> => {
        appended += chunk.length
        for (let work = writer.append(chunk); ; work = writer.retry()) {
          try {
            return await work
          } catch (error) {
            assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
            assert.ok(writer.rest().equals(content.subarray(writer.written, appended)))
            refusals += 1
            if (refusals === 3) await disk.free()
          }
        }
      }
      if (memory) await receiveAll(memory, content, append)
      else for (let at = 0; at < content.length; at += MiB) await append(content.subarray(at, at + MiB))
      assert.equal(refusals, 3)
      await writer.flush()
      assert.equal((await writer.soFar(full.reader(content.length), undefined)).digest('hex'), hexOf(content))
      assert.ok((await readFile(full.path)).equals(content))
      if (how === 'in a thread') assert.equal(await writer.digest(), hexOf(content))
      await writer.close()
    })
  }

  it('writes here what a thread was refused that has died since', async (test) => {
    const disk = await mountTinyDisk(16 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    using all = started()
    await mkdir(disk.path)
    await using writing = await CountedWriting.warm()
    await using full = await written(writing, 'sha256', disk.path)
    const { writer } = full
    await disk.fill(MiB)
    // More than there is room for, on the disk and in memory.
    const end = sizes.large + 2 * MiB
    await assert.rejects(writer.append(content.subarray(0, end)), { code: 'ENOSPC' })
    const there = writer.written
    await all.threads[0]?.terminate()
    assert.ok(writer.rest().equals(content.subarray(there, end)))
    await assert.rejects(writer.retry(), { code: 'ENOSPC' })
    assert.ok(writer.rest().equals(content.subarray(writer.written, end)))
    await disk.free()
    await writer.retry()
    await appendAll(writer, content, { from: end })
    await writer.flush()
    assert.ok((await readFile(full.path)).equals(content))
    assert.equal(writer.rest().length, 0)
    await writer.close()
  })

  for (const how of ['retry', 'flush'] as const) {
    it(`goes on by ${how} with what was refused here, though by now there is a thread for it`, async (test) => {
      const disk = await mountTinyDisk(16 * MiB)
      if (typeof disk === 'string') return test.skip(disk)
      await using _disk = disk
      await mkdir(disk.path)
      await using writing = await CountedWriting.warm()
      await using full = await written(writing, 'sha256', disk.path)
      const { writer } = full
      await disk.fill(MiB)
      writing.isBusy = true
      await assert.rejects(writer.append(content.subarray(0, 3 * MiB)), { code: 'ENOSPC' })
      writing.isBusy = false
      writer.expect(content.length)
      assert.ok(writer.memory)
      await disk.free()
      await writer[how]()
      await appendAll(writer, content, { from: 3 * MiB })
      await writer.flush()
      assert.equal(await writer.digest(), hexOf(content))
      assert.ok((await readFile(full.path)).equals(content))
      await writer.close()
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
      test.writer.expect(size)
      await appendAll(test.writer, large.subarray(0, 500_000))
      await moment(async () => await all.threads[0]?.terminate())
      await appendAll(test.writer, large, { from: 500_000, piece: 48 * MiB })
      await test.writer.flush()
      assert.equal(test.writer.written, size)
      assert.equal(test.writer.memory, undefined)
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
      test.writer.expect(size)
      const memory = inMemory(test.writer)
      setTimeout(() => void all.threads[0]?.terminate(), turn / 2)
      if (turn % 2 === 0) await appendAll(test.writer, content, { piece: 50_000 })
      else await receiveAll(memory, content, (bytes) => test.writer.append(bytes))
      await test.writer.flush()
      assert.equal((await test.writer.soFar(test.reader(size), undefined)).digest('hex'), hexOf(content))
      assert.ok((await readFile(test.path)).equals(content))
      await test.writer.close()
    }
  })

  it('writes what a thread left in its memory when it died, once', async () => {
    await using dir = await tempDir()
    using all = started()
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    const { writer } = test
    writer.expect(content.length)
    const memory = inMemory(writer)
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    // More than there is room for.
    const more = memory.memory.bytes.byteLength + 300_000
    await writer.append(content.subarray(0, 100_000))
    const appending = writer.append(content.subarray(100_000, more))
    await all.threads[0]?.terminate()
    await appending
    assert.equal(writer.written, more)
    assert.ok((await readFile(test.path)).equals(content.subarray(0, more)))
    assert.ok(memory.hasRoom)
    await appendAll(writer, content, { from: more })
    await writer.flush()
    assert.ok((await readFile(test.path)).equals(content))
    await writer.close()
  })

  it('writes here what it was asked to flush when its thread died', async () => {
    await using dir = await tempDir()
    using all = started()
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    const { writer } = test
    writer.expect(content.length)
    inMemory(writer)
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    await writer.append(content.subarray(0, 100_000))
    const flushing = writer.flush()
    await all.threads[0]?.terminate()
    await flushing
    assert.equal(writer.written, 100_000)
    assert.ok((await readFile(test.path)).equals(content.subarray(0, 100_000)))
    await writer.close()
  })

  it('goes on with the memory of a thread that has died, in which bytes are received', async () => {
    using all = started()
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    const { writer } = test
    writer.expect(content.length)
    const memory = inMemory(writer)
    await receiveAll(memory, content.subarray(0, MiB + 1), (bytes) => writer.append(bytes))
    await all.threads[0]?.terminate()
    // It is missed when there is no room.
    const seen = MiB + 1 + memory.memory.bytes.byteLength
    await receiveAll(memory, content.subarray(MiB + 1, seen), (bytes) => writer.append(bytes))
    assert.ok(writer.memory === undefined)
    // And once more from another source.
    memory.room()
    memory.restart()
    await receiveAll(memory, content.subarray(seen), (bytes) => writer.append(bytes))
    await writer.flush()
    assert.equal(memory.taken, content.length)
    assert.ok((await readFile(test.path)).equals(content))
    await writer.close()
  })

  it('counts once what filled the memory when its thread died', async () => {
    await using dir = await tempDir()
    using all = started()
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    const { writer } = test
    writer.expect(content.length)
    const memory = inMemory(writer)
    const size = memory.memory.bytes.byteLength
    const long = Buffer.concat([content, content])
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    const keepTwo = async (bytes: Buffer): Promise<Buffer> => {
      await receiveAll(memory, bytes, () => undefined)
      return Buffer.from(memory.memory.bytes)
    }
    const appending = writer.append(await keepTwo(long.subarray(0, size)))
    await all.threads[0]?.terminate()
    await appending
    assert.equal(memory.taken, size)
    for (let at = size; at < 4 * size; at += size) {
      const both = await keepTwo(long.subarray(at, at + size))
      assert.ok(!memory.hasRoom)
      await writer.append(both)
      assert.equal(memory.taken, at + size)
    }
    assert.ok((await readFile(test.path)).equals(long.subarray(0, 4 * size)))
    await writer.close()
  })

  it('knows what is kept elsewhere still when its thread has died', async () => {
    await using dir = await tempDir()
    using all = started()
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    const { writer } = test
    writer.expect(content.length)
    const memory = inMemory(writer)
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    // It is almost full.
    const first = memory.memory.bytes.byteLength - 62_144
    await writer.append(content.subarray(0, first))
    const kept = [
      memory.keep(content.subarray(first, first + 200_000)),
      memory.keep(content.subarray(first + 200_000, first + 500_000)),
      memory.keep(content.subarray(first + 500_000, first + 500_001)),
    ] as const
    for (const { buffer } of kept) assert.ok(buffer !== memory.memory.bytes)
    const appending = writer.append(kept[0])
    await all.threads[0]?.terminate()
    await appending
    assert.ok(!memory.hasRoom)
    await writer.append(kept[1])
    assert.equal(memory.room(), undefined)
    await writer.append(kept[2])
    await receiveAll(memory, content.subarray(first + 500_001), (bytes) => writer.append(bytes))
    assert.ok((await readFile(test.path)).equals(content))
    await writer.close()
  })

  it('rejects the digest where its thread dies when asked for it', async () => {
    await using dir = await tempDir()
    await using writing = await CountedWriting.warm()
    await using test = await written(writing)
    await appendAll(test.writer, content)
    await test.writer.flush()
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    const rejected = assert.rejects(test.writer.digest(), /has died/)
    await writing[Symbol.asyncDispose]()
    await rejected
    assert.equal((await test.writer.soFar(test.reader(content.length), undefined)).digest('hex'), hexOf(content))
    await test.writer.close()
  })

  for (const how of ['here', 'in a thread'] as const) {
    it(`gives a hash to go on with of what is written ${how} and more, and closes what it was given to read`, async () => {
      await using writing = await CountedWriting.warm()
      await using test = await written(how === 'here' ? undefined : writing)
      const [there, more] = [content.subarray(0, 2 * MiB), content.subarray(2 * MiB)]
      test.writer.expect(content.length)
      await appendAll(test.writer, there)
      await test.writer.flush()
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
          cork: reader.cork.bind(reader),
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
    const path = join(dir.path, 'file')
    const file = await SharedFile.open(path, 'wx+', undefined)
    const { fd } = file
    const writer = new Writer(file, writing)
    writer.hashFor(claimed())
    await writer.append(content.subarray(0, 1000))
    writer.expect(content.length)
    const memory = inMemory(writer)
    await using blocker = await block(writing, join(dir.path, 'blocker'))
    let isOver = false
    const running = writer.append(content.subarray(1000)).then(() => {
      isOver = true
    })
    await writer.close()
    assert.ok(isOver)
    await running
    await file.release()
    await using reused = await openAs(fd, join(dir.path, 'other'))
    await blocker.over
    assert.equal((await reused.stat()).size, 0)
    assert.equal((await stat(path)).size, writer.written)
    assert.ok(content.length - writer.written <= memory.memory.bytes.byteLength)
    assert.ok((await readFile(path)).equals(content.subarray(0, writer.written)))
  })

  it('lets go of a file once, however often it is closed', async () => {
    await using writing = await CountedWriting.warm()
    await using dir = await tempDir()
    const file = await SharedFile.open(join(dir.path, 'file'), 'wx+', undefined)
    const { fd } = file
    const writer = new Writer(file, writing)
    writer.hashFor(claimed())
    await appendAll(writer, content)
    await writer.close()
    await file.release()
    await using reused = await openAs(fd, join(dir.path, 'other'))
    const another = writing.open(reused.fd, 'sha256', 0)
    assert.ok(another)
    await writer.close()
    another.put(content.subarray(0, 1000))
    await another.flush()
    assert.equal(await another.digest(), hexOf(content.subarray(0, 1000)))
    await another.close()
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
      const failing = assert.rejects(writer.append(content), { code: 'EBADF' })
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
      test.writer.expect(bytes.length)
      await appendAll(test.writer, bytes, { piece: 1_000_000 })
      await test.writer.flush()
      const digest = turn % 2 === 0 ? test.writer.digest() : undefined
      if (digest) assert.equal(await digest, hexOf(bytes))
      await test.writer.close()
      assert.ok((await readFile(test.path)).equals(bytes))
    }
    assert.equal(writing.opened.length, 10)
  })
})
