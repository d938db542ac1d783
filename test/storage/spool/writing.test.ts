import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { Algorithm } from '../../../src/oci/digest.ts'
import { Ring } from '../../../src/storage/spool/ring.ts'
import { Writing, type WrittenFile } from '../../../src/storage/spool/writing.ts'
import { ThreadDied } from '../../../src/threads/thread.ts'
import { mountTinyDisk } from '../../cache/support/tiny-disk.ts'
import { randomBlob } from '../../support/image.ts'
import { sizes } from '../../support/rings.ts'
import { tempDir } from '../../support/temp.ts'
import { block, openAs, started, stayAlive, warm } from '../../support/threads.ts'
import { until } from '../../support/wait.ts'

stayAlive()

const MiB = 1024 * 1024
/** A thread that is not woken looks every second. */
const hang = { timeout: 20_000 }
/** More than there is room for at once. */
const content = randomBlob(sizes.large + 2 * MiB + 11)

function hexOf(bytes: Buffer, algorithm: Algorithm = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex')
}

async function warmWriting(onDeath?: (error: ThreadDied) => void): Promise<Writing> {
  const writing = new Writing(onDeath)
  await warm(writing)
  return writing
}

function opened(writing: Writing, file: number, algorithm: Algorithm = 'sha256', size = 0): WrittenFile {
  const written = writing.open(file, algorithm, size)
  assert.ok(written)
  return written
}

async function appendAll(file: WrittenFile, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    await file.room()
    at += file.put(bytes.subarray(at))
  }
}

/** The ways that bytes come in; of those given, as many as are told. */
const ways: readonly ((file: WrittenFile, bytes: Buffer) => Promise<number>)[] = [
  async (file, bytes) => file.put(bytes),
  async (file, bytes) => file.put(Buffer.from(bytes.subarray(0, 5000))),
  async (file, bytes) => {
    const kept = file.memory.keep(bytes.subarray(0, 30_000))
    await appendAll(file, kept)
    return kept.length
  },
  async (file, bytes) => {
    const room = file.memory.room() as Buffer
    return file.put(file.memory.keep(room.subarray(0, bytes.copy(room))))
  },
]

describe('Writing', () => {
  for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
    it(`writes many files in turns, whichever way the bytes come, and gives their ${algorithm}`, async () => {
      await using dir = await tempDir()
      await using writing = await warmWriting()
      const sizes = [0, 1, 5000, MiB - 1, MiB, MiB + 1, 3 * MiB, content.length]
      const files = await Promise.all(
        sizes.map(async (size) => ({ size, handle: await open(join(dir.path, `${size}`), 'wx+') })),
      )
      const writes = files.map(async ({ size, handle }, index) => {
        const file = opened(writing, handle.fd, algorithm)
        let turn = index
        for (let at = 0; at < size; turn += 1) {
          const length = Math.min(size - at, turn % 3 === 0 ? 1000 : 300_000)
          await file.room()
          at += (await ways[turn % ways.length]?.(file, content.subarray(at, at + length))) ?? 0
        }
        await file.flush()
        assert.equal(file.written, size)
        assert.equal(file.rest().length, 0)
        const digest = await file.digest()
        // It can be asked for twice.
        assert.equal(await file.digest(), digest)
        await file.close()
        assert.equal(file.written, size)
        return digest
      })
      const digests = await Promise.all(writes)
      for (const [index, { size, handle }] of files.entries()) {
        assert.equal(digests[index], hexOf(content.subarray(0, size), algorithm))
        assert.ok((await handle.readFile()).equals(content.subarray(0, size)))
        await handle.close()
      }
    })
  }

  it('lets the caller have the bytes again when they are put', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const path = join(dir.path, 'file')
    await using handle = await open(path, 'wx+')
    const file = opened(writing, handle.fd)
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    const chunk = Buffer.from(content.subarray(0, 200_000))
    assert.equal(file.put(chunk), chunk.length)
    chunk.fill(0)
    await file.flush()
    assert.equal(await file.digest(), hexOf(content.subarray(0, 200_000)))
    assert.ok((await readFile(path)).equals(content.subarray(0, 200_000)))
  })

  it('tells of room, and of the end, no sooner than it has come so far', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    let put = 0
    for (let turn = 0; turn < 100; turn += 1) {
      put += file.put(content)
      if (turn % 2 === 0) {
        await file.room()
        assert.ok(file.memory.hasRoom)
      } else {
        await file.flush()
        assert.equal(file.written, put)
        assert.equal((await handle.stat()).size, put)
      }
    }
    // At once, where it is so.
    await file.flush()
    await file.room()
    await file.flush()
    await file.close()
  })

  it('is woken by what is put, though nobody asks how far it has come', hang, async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    for (let put = 1; put <= 40; put += 1) {
      file.put(content.subarray(0, 1))
      await until(() => file.written === put, 'what was put to be written')
      await file.digest()
    }
    await file.close()
  })

  it('has written and hashed bytes before their place is free', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    const { memory } = file
    const long = Buffer.concat(Array.from({ length: 15 }, () => content))
    // Used again as soon as that can be seen.
    for (let at = 0; at < long.length; ) {
      while (!memory.hasRoom);
      const room = memory.room() as Buffer
      at += file.put(memory.keep(room.subarray(0, long.copy(room, 0, at))))
    }
    await file.flush()
    assert.equal(await file.digest(), hexOf(long))
    assert.ok((await handle.readFile()).equals(long))
    await file.close()
  })

  it('takes no more than there is room for', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    await using blocker = await block(writing, join(dir.path, 'blocker'))
    const size = file.memory.memory.bytes.byteLength
    assert.equal(file.put(content), size)
    assert.equal(file.put(content), 0)
    assert.equal(file.written, 0)
    assert.ok(file.rest().equals(content.subarray(0, size)))
    await blocker.over
    await file.room()
    await file.flush()
    assert.equal(file.written, size)
    await file.close()
  })

  it('goes on with a file that is there, and hashes what it holds', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    for (const there of [1, 256 * 1024, 256 * 1024 + 1, 3 * MiB + 7]) {
      const path = join(dir.path, `${there}`)
      // More than is said to be there is written anew.
      await writeFile(path, Buffer.concat([content.subarray(0, there), Buffer.alloc(10)]))
      await using handle = await open(path, 'r+')
      const file = opened(writing, handle.fd, 'sha512', there)
      await appendAll(file, content.subarray(there, there + 100_000))
      await file.flush()
      assert.equal(file.written, there + 100_000)
      assert.equal(await file.digest(), hexOf(content.subarray(0, there + 100_000), 'sha512'))
      assert.ok((await readFile(path)).equals(content.subarray(0, there + 100_000)))
    }
  })

  it('writes nothing to a file that cannot be read back, or is shorter than was said, and goes on with others', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const [blind, short, sound] = ['blind', 'short', 'sound'].map((name) => join(dir.path, name)) as [
      string,
      string,
      string,
    ]
    for (const path of [blind, short, sound]) await writeFile(path, content.subarray(0, 1000))
    await using sealed = await open(blind, 'a')
    await using cut = await open(short, 'r+')
    await using good = await open(sound, 'r+')
    const files = [opened(writing, sealed.fd, 'sha256', 1000), opened(writing, cut.fd, 'sha256', 1001)]
    for (const file of files) {
      // To try again is to read it again.
      for (let turn = 0; turn < 3; turn += 1) {
        file.put(Buffer.from('more'))
        await assert.rejects(file.flush(), /EBADF|the file ended/)
        await assert.rejects(file.digest(), /EBADF|the file ended/)
        await file.retry()
      }
      assert.equal(file.rest().toString(), 'moremoremore')
      await file.close()
    }
    for (const path of [blind, short]) assert.equal((await stat(path)).size, 1000)
    const file = opened(writing, good.fd, 'sha256', 1000)
    await appendAll(file, content.subarray(1000, 2000))
    await file.flush()
    assert.equal(await file.digest(), hexOf(content.subarray(0, 2000)))
  })

  it('knows nothing of a file it has let go of, whose number is another one’s', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const first = await open(join(dir.path, 'first'), 'wx+')
    const number = first.fd
    const before = opened(writing, number)
    await appendAll(before, content.subarray(0, 5000))
    await before.close()
    await first.close()
    // For appending only: it cannot be read back.
    await using second = await openAs(number, join(dir.path, 'second'), 'a')
    const after = opened(writing, number, 'sha256', 1)
    after.put(Buffer.from('x'))
    await assert.rejects(after.flush(), { code: 'EBADF' })
    assert.equal((await second.stat()).size, 0)
    await after.close()
  })

  it('has let go of a file when it is closed, and only then is its memory another one’s', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const path = join(dir.path, 'first')
    const first = await open(path, 'wx+')
    const file = opened(writing, first.fd)
    const neighbour = opened(writing, 1_000_001)
    await using blocker = await block(writing, join(dir.path, 'blocker'))
    const memory = file.memory.memory
    file.put(content.subarray(0, 200_000))
    const order: string[] = []
    void blocker.over.then(() => order.push('what came before'))
    const closing = file.close().then(() => order.push('closed'))
    const other = new Ring()
    assert.ok(other.memory !== memory)
    await closing
    assert.deepEqual(order, ['what came before', 'closed'])
    const there = file.written
    // By the second answer it has been through all it has to do.
    for (const _ of ['first', 'second']) await neighbour.digest()
    assert.equal((await first.stat()).size, there)
    const number = first.fd
    await first.close()
    await using second = await openAs(number, join(dir.path, 'second'))
    const next = opened(writing, second.fd)
    assert.ok(next.memory.memory === memory)
    await neighbour.close()
    assert.ok(new Ring().memory === neighbour.memory.memory)
    await appendAll(next, content.subarray(1000, 3000))
    await next.flush()
    assert.equal(await next.digest(), hexOf(content.subarray(1000, 3000)))
    assert.ok((await readFile(join(dir.path, 'second'))).equals(content.subarray(1000, 3000)))
    assert.equal((await readFile(path)).length, there)
    assert.equal(file.written, there)
    await next.close()
  })

  it('is closed once, however often it is asked for', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const first = await open(join(dir.path, 'first'), 'wx+')
    const file = opened(writing, first.fd)
    const closings = [file.close(), file.close()]
    await Promise.all(closings)
    const number = first.fd
    await first.close()
    await using second = await openAs(number, join(dir.path, 'second'))
    const next = opened(writing, second.fd)
    await file.close()
    // Neither is the other let go of, nor the memory handed out again.
    await appendAll(next, content)
    await next.flush()
    assert.equal(await next.digest(), hexOf(content))
    assert.ok(new Ring().memory !== next.memory.memory)
    await next.close()
  })

  it('rejects with what the system says', hang, async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const path = join(dir.path, 'file')
    await writeFile(path, 'x')
    await using handle = await open(path, 'r')
    const file = opened(writing, handle.fd)
    file.put(Buffer.from('y'))
    // Each of them wakes it.
    for (let turn = 0; turn < 20; turn += 1) {
      await assert.rejects(file.flush(), { code: 'EBADF', message: /^EBADF: .*write/ })
      await assert.rejects(file.digest(), { code: 'EBADF', message: /^EBADF: .*write/ })
    }
    assert.equal(file.rest().toString(), 'y')
    assert.equal(file.written, 0)
    await file.close()
    assert.equal(await readFile(path, 'utf8'), 'x')
  })

  it('rejects whoever waits for room, too', async () => {
    await using writing = await warmWriting()
    await using handle = await open('/dev/full', 'r+')
    const file = opened(writing, handle.fd)
    assert.equal(file.put(content), file.memory.memory.bytes.byteLength)
    for (let turn = 0; turn < 3; turn += 1) await assert.rejects(file.room(), { code: 'ENOSPC' })
    await file.retry()
    await assert.rejects(file.room(), { code: 'ENOSPC' })
    await file.close()
  })

  it('writes nothing more to a disk that was full, and then all of it when told so', async (test) => {
    const disk = await mountTinyDisk(16 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using writing = await warmWriting()
    await mkdir(disk.path)
    const path = join(disk.path, 'file')
    await using handle = await open(path, 'wx+')
    const file = opened(writing, handle.fd)
    await disk.fill(500_000)
    await assert.rejects(appendAll(file, content), { code: 'ENOSPC' })
    const there = file.written
    assert.ok(there > 400_000 && there < 600_000)
    for (let turn = 0; turn < 3; turn += 1) {
      await file.retry()
      await assert.rejects(file.flush(), { code: 'ENOSPC' })
    }
    const rest = file.rest()
    await disk.free()
    await assert.rejects(file.flush(), { code: 'ENOSPC' })
    assert.equal((await stat(path)).size, there)
    assert.equal(file.written, there)
    await file.retry()
    await file.flush()
    await appendAll(file, content.subarray(there + rest.length))
    await file.flush()
    assert.equal(await file.digest(), hexOf(content))
    assert.ok((await readFile(path)).equals(content))
    await file.close()
  })

  it('does not say that the disk is full when it was told to try again, whatever else the thread has to do', async (test) => {
    const disk = await mountTinyDisk(4 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using dir = await tempDir()
    await using writing = await warmWriting()
    await using other = await open(join(dir.path, 'other'), 'wx+')
    const before = opened(writing, other.fd)
    await mkdir(disk.path)
    await using handle = await open(join(disk.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    let at = 0
    for (let turn = 0; turn < 20; turn += 1) {
      await disk.fill(0)
      at += file.put(content.subarray(at, at + 100_000))
      await assert.rejects(file.flush(), { code: 'ENOSPC' })
      await disk.free()
      before.put(content)
      await file.retry()
      await file.flush()
      await before.flush()
    }
    assert.equal(await file.digest(), hexOf(content.subarray(0, at)))
    await before.close()
    await file.close()
  })

  it('says what was written of a chunk where the system takes a part of it', async () => {
    await using dir = await tempDir()
    const [path, script] = [join(dir.path, 'file'), join(dir.path, 'script.mjs')]
    const module = (name: string) => JSON.stringify(new URL(name, import.meta.url).href)
    await writeFile(
      script,
      `const { openSync } = await import('node:fs')
      const { Writing } = await import(${module('../../../src/storage/spool/writing.ts')})
      const writing = new Writing()
      const file = openSync(${JSON.stringify(path)}, 'wx+')
      let written
      while (!(written = writing.open(file, 'sha256', 0))) await new Promise((resolve) => setTimeout(resolve, 2))
      const timer = setInterval(() => {}, 1000)
      for (const fill of [1, 2]) {
        written.put(Buffer.alloc(5000, fill))
        console.log(await written.flush().catch(({ code }) => code), written.written, written.rest().length)
      }
      clearInterval(timer)`,
    )
    // In blocks of 512 bytes, or of 1024, as the shell has it.
    const { stdout } = await promisify(execFile)(
      'sh',
      ['-c', 'ulimit -f 2; exec "$0" "$1"', process.execPath, script],
      {
        timeout: 30_000,
        // Its files would be cut, too.
        env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' },
      },
    )
    const { size } = await stat(path)
    assert.ok(size === 1024 || size === 2048)
    assert.deepEqual(stdout.trim().split('\n'), [`EFBIG ${size} ${5000 - size}`, `EFBIG ${size} ${10_000 - size}`])
    assert.ok((await readFile(path)).equals(Buffer.alloc(size, 1)))
  })

  it('starts another thread when the first has a file, and gives it the next one', async (test) => {
    if (availableParallelism() === 1) return test.skip('one processor, one thread')
    await using dir = await tempDir()
    using all = started()
    const deaths: ThreadDied[] = []
    await using writing = await warmWriting((error) => deaths.push(error))
    const handles = await Promise.all([0, 1, 2].map((name) => open(join(dir.path, `${name}`), 'wx+')))
    const [one, two, three] = handles.map(({ fd }) => fd) as [number, number, number]
    const first = opened(writing, one)
    assert.equal(all.threads.length, 1)
    const second = opened(writing, two)
    await once(await until(() => all.threads[1], 'another thread'), 'message')
    const third = opened(writing, three)
    await appendAll(third, content.subarray(0, 1000))

    await all.threads[0]?.terminate()
    for (const file of [first, second]) {
      file.put(Buffer.from('x'))
      await assert.rejects(file.flush(), ThreadDied)
      await file.close()
    }
    await appendAll(third, content.subarray(1000, 2000))
    await third.flush()
    assert.equal(await third.digest(), hexOf(content.subarray(0, 2000)))
    assert.equal(deaths.length, 1)
    // The other one has all the work now, and none is started.
    const fourth = opened(writing, one)
    await appendAll(fourth, content)
    await fourth.flush()
    assert.equal(await fourth.digest(), hexOf(content))
    assert.equal(all.threads.length, 2)
    for (const file of [third, fourth]) await file.close()
    for (const handle of handles) await handle.close()
  })

  it('needs no other thread once the first has let go of its files', async () => {
    await using dir = await tempDir()
    using all = started()
    await using writing = await warmWriting()
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    for (let turn = 0; turn < 3; turn += 1) {
      const file = opened(writing, handle.fd)
      await appendAll(file, content.subarray(0, 1000))
      await file.close()
    }
    assert.equal(all.threads.length, 1)
  })

  for (const asked of ['room', 'flush', 'retry', 'digest'] as const) {
    it(`rejects the ${asked} that was asked for, and whatever is asked afterwards, when its thread ends`, async () => {
      await using dir = await tempDir()
      using all = started()
      const deaths: ThreadDied[] = []
      await using writing = await warmWriting((error) => deaths.push(error))
      await using handle = await open(join(dir.path, 'file'), 'wx+')
      const file = opened(writing, handle.fd)
      await appendAll(file, content.subarray(0, 1000))
      await file.flush()
      await using _blocker = await block(writing, join(dir.path, 'blocker'))
      file.put(content.subarray(1000))
      const pending = assert.rejects(file[asked](), ThreadDied)
      await all.threads[0]?.terminate()
      await pending
      for (const work of ['room', 'flush', 'retry', 'digest'] as const) await assert.rejects(file[work](), ThreadDied)
      assert.equal(file.written, 1000)
      assert.ok(file.rest().equals(content.subarray(1000, 1000 + file.memory.memory.bytes.byteLength)))
      await file.close()
      assert.equal(file.written, 1000)
      assert.ok(new Ring().memory === file.memory.memory)
      assert.equal(deaths.length, 1)
    })
  }

  it('ends its threads when it is disposed of, and calls that no death', async () => {
    await using dir = await tempDir()
    using all = started()
    const deaths: ThreadDied[] = []
    const writing = await warmWriting((error) => deaths.push(error))
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    await using _blocker = await block(writing, join(dir.path, 'blocker'))
    file.put(content)
    const pending = assert.rejects(file.flush(), ThreadDied)
    await writing[Symbol.asyncDispose]()
    await pending
    assert.deepEqual(deaths, [])
    assert.deepEqual(
      all.threads.map(({ threadId }) => threadId),
      all.threads.map(() => -1),
    )
    await writing[Symbol.asyncDispose]()
  })

  it('does not keep its process alive, whether it is busy or not', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'script.mjs')
    const module = new URL('../../../src/storage/spool/writing.ts', import.meta.url)
    await writeFile(
      path,
      `const { openSync } = await import('node:fs')
      const { Writing } = await import(${JSON.stringify(module.href)})
      const writing = new Writing()
      const file = openSync(${JSON.stringify(join(dir.path, 'file'))}, 'wx+')
      let written
      while (!(written = writing.open(file, 'sha256', 0))) await new Promise((resolve) => setTimeout(resolve, 2))
      written.put(Buffer.alloc(1000))
      void written.flush()
      console.log('over')`,
    )
    // Killed where it does not end by itself.
    const { stdout } = await promisify(execFile)(process.execPath, [path], { timeout: 30_000 })
    assert.equal(stdout, 'over\n')
  })
})
