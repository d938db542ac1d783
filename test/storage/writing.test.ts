import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { Algorithm } from '../../src/oci/digest.ts'
import { ThreadDied } from '../../src/storage/thread.ts'
import { Writing, type WrittenFile } from '../../src/storage/writing.ts'
import { mountTinyDisk } from '../cache/support/tiny-disk.ts'
import { randomBlob } from '../support/image.ts'
import { tempDir } from '../support/temp.ts'
import { sharedCopy, started, stayAlive, warm } from '../support/threads.ts'
import { until } from '../support/wait.ts'

stayAlive()

const MiB = 1024 * 1024
const content = randomBlob(6 * MiB + 11)
const large = sharedCopy(Buffer.alloc(32 * MiB))

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
  for (let at = 0; at < bytes.length; ) at += await file.append(bytes.subarray(at))
}

/** The same bytes in every kind of memory that they may come in. */
const memories: readonly ((bytes: Buffer) => Buffer)[] = [
  sharedCopy,
  // A part of the pool, where it is small.
  (bytes) => Buffer.from(bytes),
  (bytes) => bytes,
  (bytes) => Buffer.concat([Buffer.alloc(3), bytes, Buffer.alloc(5)]).subarray(3, -5),
]

describe('Writing', () => {
  for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
    it(`writes many files in turns, whatever memory the bytes are in, and gives their ${algorithm}`, async () => {
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
          const chunk = memories[turn % memories.length]?.(content.subarray(at, at + length)) as Buffer
          at += await file.append(chunk)
        }
        const digest = await file.digest()
        // It can be asked for twice.
        assert.equal(await file.digest(), digest)
        file.close()
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

  it('lets the caller have the bytes again when they are appended', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const path = join(dir.path, 'file')
    await using handle = await open(path, 'wx+')
    const file = opened(writing, handle.fd)
    for (const chunk of [sharedCopy(content.subarray(0, MiB)), Buffer.from(content.subarray(MiB, 2 * MiB))]) {
      await appendAll(file, chunk)
      chunk.fill(0)
    }
    assert.equal(await file.digest(), hexOf(content.subarray(0, 2 * MiB)))
    assert.ok((await readFile(path)).equals(content.subarray(0, 2 * MiB)))
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
      await assert.rejects(file.append(Buffer.from('more')), /could not be read/)
      await assert.rejects(file.digest(), /could not be read/)
      file.close()
    }
    for (const path of [blind, short]) assert.equal((await stat(path)).size, 1000)
    const file = opened(writing, good.fd, 'sha256', 1000)
    await appendAll(file, content.subarray(1000, 2000))
    assert.equal(await file.digest(), hexOf(content.subarray(0, 2000)))
  })

  it('knows nothing of a file it has let go of, whose number is another one’s', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const first = await open(join(dir.path, 'first'), 'wx+')
    const number = first.fd
    const before = opened(writing, number)
    await appendAll(before, content.subarray(0, 5000))
    before.close()
    await first.close()
    // For appending only: it cannot be read back.
    await using second = await open(join(dir.path, 'second'), 'a')
    assert.equal(second.fd, number)
    const after = opened(writing, number, 'sha256', 1)
    await assert.rejects(after.append(Buffer.from('x')), /could not be read/)
    assert.equal((await second.stat()).size, 0)
  })

  it('rejects with what the system says', async () => {
    await using dir = await tempDir()
    await using writing = await warmWriting()
    const path = join(dir.path, 'file')
    await writeFile(path, 'x')
    await using handle = await open(path, 'r')
    const file = opened(writing, handle.fd)
    await assert.rejects(file.append(Buffer.from('y')), { code: 'EBADF', message: /^EBADF: .*write/ })
    assert.equal(await readFile(path, 'utf8'), 'x')
    // Nothing of it was hashed.
    assert.equal(await file.digest(), hexOf(Buffer.alloc(0)))
  })

  it('says what a full disk took, says that it is full, and goes on when it is not', async (test) => {
    const disk = await mountTinyDisk(16 * MiB)
    if (typeof disk === 'string') return test.skip(disk)
    await using _disk = disk
    await using writing = await warmWriting()
    await mkdir(disk.path)
    const path = join(disk.path, 'file')
    await using handle = await open(path, 'wx+')
    const file = opened(writing, handle.fd)
    await disk.fill(500_000)
    let at = await file.append(sharedCopy(content.subarray(0, MiB)))
    assert.ok(at > 0 && at < MiB)
    assert.equal(await file.digest(), hexOf(content.subarray(0, at)))
    for (let turn = 0; turn < 2; turn += 1) {
      await assert.rejects(file.append(content.subarray(at, MiB)), { code: 'ENOSPC' })
    }
    await disk.free()
    while (at < content.length) at += await file.append(sharedCopy(content.subarray(at, at + MiB)))
    assert.equal(await file.digest(), hexOf(content))
    assert.ok((await readFile(path)).equals(content))
  })

  it('says what was written of a chunk where the system takes a part of it', async () => {
    await using dir = await tempDir()
    const [path, script] = [join(dir.path, 'file'), join(dir.path, 'script.mjs')]
    const module = (name: string) => JSON.stringify(new URL(name, import.meta.url).href)
    await writeFile(
      script,
      `const { openSync } = await import('node:fs')
      const { Writing } = await import(${module('../../src/storage/writing.ts')})
      const writing = new Writing()
      const file = openSync(${JSON.stringify(path)}, 'wx+')
      let written
      while (!(written = writing.open(file, 'sha256', 0))) await new Promise((resolve) => setTimeout(resolve, 2))
      const timer = setInterval(() => {}, 1000)
      for (const fill of [1, 2]) {
        console.log(await written.append(Buffer.alloc(5000, fill)).catch(({ code }) => code))
      }
      console.log(await written.digest())
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
    assert.deepEqual(stdout.trim().split('\n'), [`${size}`, 'EFBIG', hexOf(Buffer.alloc(size, 1))])
  })

  it('starts another thread when the first is busy, and gives it the next file', async (test) => {
    if (availableParallelism() === 1) return test.skip('one processor, one thread')
    await using dir = await tempDir()
    using all = started()
    const deaths: ThreadDied[] = []
    await using writing = await warmWriting((error) => deaths.push(error))
    assert.equal(all.threads.length, 1)
    const handles = await Promise.all([0, 1, 2].map((name) => open(join(dir.path, `${name}`), 'wx+')))
    const [one, two, three] = handles.map(({ fd }) => fd) as [number, number, number]
    const first = opened(writing, one)
    const busy = first.append(sharedCopy(Buffer.alloc(8 * MiB)))
    const second = opened(writing, two)
    const another = await until(() => all.threads[1], 'another thread')
    await once(another, 'message')
    await busy
    const busyAgain = first.append(sharedCopy(Buffer.alloc(MiB)))
    const third = opened(writing, three)
    await busyAgain
    await appendAll(third, content.subarray(0, 1000))

    await all.threads[0]?.terminate()
    await assert.rejects(first.append(Buffer.from('x')), ThreadDied)
    await assert.rejects(second.append(Buffer.from('x')), ThreadDied)
    await appendAll(third, content.subarray(1000, 2000))
    assert.equal(await third.digest(), hexOf(content.subarray(0, 2000)))
    assert.equal(deaths.length, 1)
    // The other one has all the work now, and none is started.
    const fourth = opened(writing, one)
    await appendAll(fourth, content)
    assert.equal(await fourth.digest(), hexOf(content))
    assert.equal(all.threads.length, 2)
    for (const handle of handles) await handle.close()
  })

  it('rejects what it was asked for, and whatever is asked afterwards, when its thread ends', async () => {
    await using dir = await tempDir()
    using all = started()
    const deaths: ThreadDied[] = []
    await using writing = await warmWriting((error) => deaths.push(error))
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    await appendAll(file, content.subarray(0, 1000))
    // More than is written before it ends.
    const pending = [file.append(large), file.append(large), file.digest()].map((asked) =>
      assert.rejects(asked, ThreadDied),
    )
    await all.threads[0]?.terminate()
    await Promise.all(pending)
    await assert.rejects(file.append(Buffer.from('x')), ThreadDied)
    await assert.rejects(file.digest(), ThreadDied)
    file.close()
    assert.equal(deaths.length, 1)
    assert.equal(writing.open(handle.fd, 'sha256', 0), undefined)
    assert.equal(all.threads.length, 1)
  })

  it('ends its threads when it is disposed of, and calls that no death', async () => {
    await using dir = await tempDir()
    using all = started()
    const deaths: ThreadDied[] = []
    const writing = await warmWriting((error) => deaths.push(error))
    await using handle = await open(join(dir.path, 'file'), 'wx+')
    const file = opened(writing, handle.fd)
    const pending = [file.append(large), file.append(large)].map((asked) => assert.rejects(asked, ThreadDied))
    await writing[Symbol.asyncDispose]()
    await Promise.all(pending)
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
    const module = new URL('../../src/storage/writing.ts', import.meta.url)
    await writeFile(
      path,
      `const { openSync } = await import('node:fs')
      const { Writing } = await import(${JSON.stringify(module.href)})
      const writing = new Writing()
      const file = openSync(${JSON.stringify(join(dir.path, 'file'))}, 'wx+')
      let written
      while (!(written = writing.open(file, 'sha256', 0))) await new Promise((resolve) => setTimeout(resolve, 2))
      written.append(Buffer.alloc(1000))
      console.log('over')`,
    )
    // Killed where it does not end by itself.
    const { stdout } = await promisify(execFile)(process.execPath, [path], { timeout: 30_000 })
    assert.equal(stdout, 'over\n')
  })
})
