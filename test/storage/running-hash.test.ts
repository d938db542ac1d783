import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { appendFile, open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Algorithm, Digest } from '../../src/oci/digest.ts'
import { type FileHash, Hashing } from '../../src/storage/hashing.ts'
import { Offload } from '../../src/storage/offload.ts'
import { RunningHash } from '../../src/storage/running-hash.ts'
import { Spool } from '../../src/storage/spool.ts'
import { randomBlob } from '../support/image.ts'
import { openFiles } from '../support/open-files.ts'
import { tempDir } from '../support/temp.ts'

const MiB = 1024 * 1024
const content = randomBlob(5 * MiB + 3)

/** As it was claimed; what it is to be compared with matters to nobody here. */
const claimed = (algorithm: Algorithm = 'sha256'): Digest =>
  `${algorithm}:${createHash(algorithm).update('another').digest('hex')}` as Digest

function hexOf(bytes: Buffer, algorithm: Algorithm = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex')
}

/** Counts the files that the thread was given. */
class CountedHashing extends Hashing {
  followed = 0

  override follow(path: string, algorithm: Algorithm): FileHash | undefined {
    this.followed += 1
    return super.follow(path, algorithm)
  }
}

/** An offload whose thread fails in some way, and is counted. */
class FailingOffload extends Offload {
  override readonly hashing: Hashing

  constructor(follow: (hashing: Hashing, path: string, algorithm: Algorithm) => FileHash | undefined) {
    super()
    const hashing = new (class extends Hashing {
      override follow(path: string, algorithm: Algorithm): FileHash | undefined {
        return follow(hashing, path, algorithm)
      }
    })()
    this.hashing = hashing
  }
}

async function hashed(
  size: number,
  { algorithm, told, hashing }: { algorithm: Algorithm; told: boolean; hashing: Hashing },
) {
  await using dir = await tempDir()
  const path = join(dir.path, 'file')
  const hash = new RunningHash(claimed(algorithm), path, hashing)
  await appendFile(path, '')
  for (let at = 0; at < size; at += 100_000) {
    const chunk = content.subarray(at, Math.min(at + 100_000, size))
    await appendFile(path, chunk)
    hash.append(chunk, { inFile: at + chunk.length, size: told ? size : undefined })
  }
  const digest = await hash.digest(size)
  hash.close()
  assert.equal(await openFiles(dir.path), 0)
  return digest
}

describe('RunningHash', () => {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const told of [true, false]) {
      it(`is the ${algorithm} of small and large files whose size is ${told ? 'told' : 'not told'} before`, async () => {
        for (const size of [0, 1, MiB - 1, MiB, MiB + 1, content.length]) {
          await using hashing = new CountedHashing()
          const digest = await hashed(size, { algorithm, told, hashing })
          assert.equal(digest, hexOf(content.subarray(0, size), algorithm))
          // A thread for what is worth it.
          assert.equal(hashing.followed, size > MiB ? 1 : 0)
        }
      })
    }
  }
})

async function spooled(path: string, offload: Offload, size = content.length): Promise<Spool> {
  const spool = await Spool.create(join(path, 'spool'), { offload })
  spool.expect(size)
  spool.hashFor(claimed())
  for (let at = 0; at < size; at += 100_000) await spool.append(content.subarray(at, Math.min(at + 100_000, size)))
  return spool
}

describe('the digest of a spool', () => {
  for (const { name, follow } of [
    { name: 'by a thread', follow: undefined },
    {
      name: 'though the thread has died since it began',
      follow: (hashing: Hashing, path: string, algorithm: Algorithm) => {
        const file = Hashing.prototype.follow.call(hashing, path, algorithm)
        void hashing[Symbol.asyncDispose]()
        return file
      },
    },
    {
      name: 'though the thread cannot open the file',
      follow: (hashing: Hashing, path: string, algorithm: Algorithm) =>
        Hashing.prototype.follow.call(hashing, `${path}-absent`, algorithm),
    },
    { name: 'though the system has no thread', follow: () => undefined },
    {
      name: 'though the thread dies when asked',
      follow: (hashing: Hashing, path: string, algorithm: Algorithm) => {
        const file = Hashing.prototype.follow.call(hashing, path, algorithm)
        assert.ok(file)
        const digest = (size: number) => {
          const told = file.digest(size)
          void hashing[Symbol.asyncDispose]()
          return told
        }
        return { ...file, digest }
      },
    },
  ]) {
    it(`is right ${name}`, async () => {
      await using dir = await tempDir()
      await using offload = follow ? new FailingOffload(follow) : new Offload()
      for (const size of [2 * MiB, content.length]) {
        const spool = await spooled(dir.path, offload, size)
        assert.equal(await spool.digest(), hexOf(content.subarray(0, size)))
        spool.release()
        await spool.close()
        assert.equal(await openFiles(dir.path), 0)
      }
    })
  }

  it('is what the file holds, where that is not what was written', async () => {
    await using dir = await tempDir()
    await using offload = new Offload()
    const spool = await Spool.create(join(dir.path, 'spool'), { offload })
    spool.expect(content.length)
    spool.hashFor(claimed())
    await spool.append(content.subarray(0, 3 * MiB))
    // The thread is told of it by the whole MiB, and does not read it before.
    await spool.append(content.subarray(3 * MiB, 3 * MiB + 10))
    await using file = await open(spool.path, 'r+')
    await file.write(Buffer.alloc(10), 0, 10, 3 * MiB)
    await spool.append(content.subarray(3 * MiB + 10))
    const held = Buffer.concat([content.subarray(0, 3 * MiB), Buffer.alloc(10), content.subarray(3 * MiB + 10)])
    assert.equal(await spool.digest(), hexOf(held))
    await spool.close()
  })

  it('leaves no file open where nobody asks for it', async () => {
    await using dir = await tempDir()
    await using offload = new Offload()
    const spool = await spooled(dir.path, offload)
    spool.fail(new Error('given up'))
    await spool.close()
    // The thread does one thing after the other.
    const next = await spooled(dir.path, offload)
    await next.digest()
    await next.close()
    assert.equal(await openFiles(dir.path), 0)
  })
})
