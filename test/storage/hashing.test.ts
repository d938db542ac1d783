import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { Algorithm } from '../../src/oci/digest.ts'
import { type FileHash, Hashing } from '../../src/storage/hashing.ts'
import { randomBlob } from '../support/image.ts'
import { openFiles } from '../support/open-files.ts'
import { tempDir } from '../support/temp.ts'
import { until } from '../support/wait.ts'

const MiB = 1024 * 1024
const content = randomBlob(6 * MiB + 11)

function hexOf(bytes: Buffer, algorithm: Algorithm = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex')
}

/** A folder with so much of the content in a file of its own for each size. */
async function files(...sizes: number[]) {
  const dir = await tempDir()
  const paths = sizes.map((size, index) => join(dir.path, `${index}-${size}`))
  await Promise.all(sizes.map((size, index) => writeFile(paths[index] ?? '', content.subarray(0, size))))
  return { folder: dir.path, paths, path: paths[0] ?? '', [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() }
}

function follow(hashing: Hashing, path: string, algorithm: Algorithm): FileHash {
  const file = hashing.follow(path, algorithm)
  assert.ok(file)
  return file
}

describe('Hashing', () => {
  for (const algorithm of ['sha256', 'sha384', 'sha512'] as const) {
    it(`gives the ${algorithm} of many files at once, as they grow, and has none open afterwards`, async () => {
      const sizes = [0, 1, MiB - 1, MiB, MiB + 1, 3 * MiB, content.length]
      await using test = await files(...sizes)
      await using hashing = new Hashing()
      const digests = sizes.map(async (size, index) => {
        const file = follow(hashing, test.paths[index] ?? '', algorithm)
        for (let at = 0; at < size; at += 300_000) file.advance(at)
        return await file.digest(size)
      })
      assert.deepEqual(
        await Promise.all(digests),
        sizes.map((size) => hexOf(content.subarray(0, size), algorithm)),
      )
      assert.equal(await openFiles(test.folder), 0)
    })
  }

  it('hashes the bytes that were asked for, and no more than there are in the file', async () => {
    await using test = await files(2 * MiB)
    await using hashing = new Hashing()
    const some = MiB + 5
    assert.equal(await follow(hashing, test.path, 'sha256').digest(some), hexOf(content.subarray(0, some)))
    await assert.rejects(follow(hashing, test.path, 'sha256').digest(2 * MiB + 1), /ended at 2097152, before 2097153/)
    assert.equal(await openFiles(test.folder), 0)
  })

  it('says that a file is shorter than it was told before, or is not there, and goes on with others', async () => {
    await using test = await files(2 * MiB)
    await using hashing = new Hashing()
    const short = follow(hashing, test.path, 'sha256')
    short.advance(4 * MiB)
    const absent = follow(hashing, join(test.folder, 'absent'), 'sha256')
    absent.advance(2 * MiB)
    await Promise.all([
      assert.rejects(short.digest(2 * MiB), /could not be read/),
      assert.rejects(absent.digest(2 * MiB), /could not be read/),
    ])
    assert.equal(await follow(hashing, test.path, 'sha256').digest(2 * MiB), hexOf(content.subarray(0, 2 * MiB)))
    assert.equal(await openFiles(test.folder), 0)
  })

  it('lets go of a file that was given up', async () => {
    await using test = await files(2 * MiB, 3 * MiB)
    await using hashing = new Hashing()
    const [first = '', second = ''] = test.paths
    const abandoned = follow(hashing, first, 'sha256')
    abandoned.advance(2 * MiB)
    await until(async () => (await openFiles(test.folder)) === 1, 'the file to be opened')
    abandoned.abandon()
    assert.equal(await follow(hashing, second, 'sha256').digest(3 * MiB), hexOf(content.subarray(0, 3 * MiB)))
    assert.equal(await openFiles(test.folder), 0)
  })

  it('rejects what it was asked for when its thread ends, and starts another for the next', async () => {
    await using test = await files(content.length)
    await using hashing = new Hashing()
    const [pending, waiting] = [follow(hashing, test.path, 'sha256'), follow(hashing, test.path, 'sha256')]
    const rejected = assert.rejects(pending.digest(content.length), /thread has died/)
    await hashing[Symbol.asyncDispose]()
    await rejected
    waiting.advance(content.length)
    await assert.rejects(waiting.digest(content.length), /thread has died/)
    waiting.abandon()
    assert.equal(await follow(hashing, test.path, 'sha256').digest(content.length), hexOf(content))
    await assert.rejects(waiting.digest(content.length), /thread has died/)
  })

  it('does not keep its process alive', async () => {
    await using test = await files(3 * MiB)
    const module = new URL('../../src/storage/hashing.ts', import.meta.url)
    const script = `const { Hashing } = await import(${JSON.stringify(module.href)})
      const file = new Hashing().follow(${JSON.stringify(test.path)}, 'sha256')
      const timer = setInterval(() => {}, 1000)
      console.log(await file.digest(${3 * MiB}))
      clearInterval(timer)`
    const path = join(test.folder, 'script.mjs')
    await writeFile(path, script)
    // Killed where it does not end by itself.
    const ended = promisify(execFile)(process.execPath, [path], { timeout: 10_000 })
    assert.equal((await ended).stdout, `${hexOf(content.subarray(0, 3 * MiB))}\n`)
  })
})
