import assert from 'node:assert/strict'
import { closeSync, fstatSync, readlinkSync } from 'node:fs'
import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { SharedFile } from '../../src/storage/file.ts'
import { PageCache } from '../../src/storage/page-cache.ts'
import { randomBlob } from '../support/image.ts'
import { openFiles } from '../support/open-files.ts'
import { dropFromMemory } from '../support/page-cache.ts'
import { tempDir } from '../support/temp.ts'

const KiB = 1024
const content = randomBlob(100 * KiB)
const loaded = PageCache.load()
const skip = loaded ? false : 'the C library cannot be called here'

/** A file of that content, looked up a moment ago. */
async function contentFile() {
  const dir = await tempDir()
  const path = join(dir.path, 'file')
  await writeFile(path, content)
  await readFile(path)
  return { path, folder: dir.path, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() }
}

describe('PageCache', { skip }, () => {
  const pageCache = loaded as PageCache

  it('opens what was looked up before, to read and nothing else, and for no other program', async (test) => {
    await using file = await contentFile()
    const fd = pageCache.open(file.path)
    if (fd === undefined) return test.skip('the system does not say what is in memory')
    assert.ok(typeof fd === 'number')
    try {
      assert.equal(fstatSync(fd).size, content.length)
      assert.equal(readlinkSync(`/proc/self/fd/${fd}`), file.path)
      const flags = /flags:\s+(\d+)/.exec(await readFile(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? ''
      // O_CLOEXEC, and no O_WRONLY or O_RDWR.
      assert.equal(Number.parseInt(flags, 8) & 0o2000003, 0o2000000)
    } finally {
      closeSync(fd)
    }
  })

  it('leaves no descriptor where there is no file, and goes on opening others', async () => {
    await using file = await contentFile()
    const before = await openFiles(file.folder)
    for (let count = 0; count < 3; count += 1) {
      assert.ok(['absent', undefined].includes(pageCache.open(join(file.folder, 'none')) as 'absent' | undefined))
      assert.ok(['absent', undefined].includes(pageCache.open(join(file.folder, 'none/below')) as 'absent' | undefined))
      assert.equal(pageCache.open(join(file.path, 'below')), undefined)
    }
    assert.equal(await openFiles(file.folder), before)
    const fd = pageCache.open(file.path)
    if (typeof fd === 'number') closeSync(fd)
  })

  it('reads what is in memory, from anywhere, up to the end', async (test) => {
    await using file = await contentFile()
    await using handle = await open(file.path)
    const into = Buffer.alloc(20 * KiB)
    if (pageCache.read(handle.fd, into, 1, 0) === undefined)
      return test.skip('the system does not say what is in memory')
    for (const [position, length] of [
      [0, 1],
      [1, 16 * KiB],
      [4095, 2],
      [50_001, 10_000],
      [content.length - 1, 1],
    ] as const) {
      into.fill(0)
      assert.equal(pageCache.read(handle.fd, into, length, position), length)
      assert.ok(into.subarray(0, length).equals(content.subarray(position, position + length)))
      assert.ok(into.subarray(length).every((byte) => byte === 0))
    }
    assert.equal(pageCache.read(handle.fd, into, 1000, content.length - 7), 7)
    assert.equal(pageCache.read(handle.fd, into, 1000, content.length), 0)
    assert.equal(pageCache.read(handle.fd, into, 16 * KiB + 1, 0), undefined)
  })

  it('does not wait for the disk', async (test) => {
    await using file = await contentFile()
    await using handle = await open(file.path, 'r+')
    await handle.sync()
    const into = Buffer.alloc(KiB)
    dropFromMemory(handle.fd, 0, content.length)
    if (pageCache.read(handle.fd, into, KiB, 50 * KiB) !== undefined) return test.skip('what is in memory stays there')
    assert.equal((await handle.read(into, 0, KiB, 50 * KiB)).bytesRead, KiB)
    assert.equal(pageCache.read(handle.fd, into, KiB, 50 * KiB), KiB)
  })

  it('is asked by no more than who wants to read', async () => {
    await using file = await contentFile()
    const opened: string[] = []
    const noting = {
      open: (path: string) => {
        opened.push(path)
        return pageCache.open(path)
      },
    } as PageCache
    const written = await SharedFile.open(join(file.folder, 'new'), 'wx+', { pageCache: noting })
    await written.release()
    assert.deepEqual(opened, [])
    const read = await SharedFile.open(file.path, 'r', { pageCache: noting })
    await read.release()
    assert.deepEqual(opened, [file.path])
    await assert.rejects(SharedFile.open(join(file.folder, 'none'), 'r', { pageCache: noting }), { code: 'ENOENT' })
  })

  it('closes what it opened, deleted meanwhile or not', async () => {
    await using file = await contentFile()
    for (const isDeleted of [false, true]) {
      const shared = await SharedFile.open(file.path, 'r', { pageCache })
      const again = shared.share()
      if (isDeleted) await rm(file.path)
      const into = Buffer.alloc(KiB)
      assert.equal(await shared.read(into, KiB, 99 * KiB), KiB)
      assert.ok(into.equals(content.subarray(99 * KiB)))
      await shared.release()
      assert.equal(await openFiles(file.folder), 1)
      await again.release()
      assert.equal(await openFiles(file.folder), 0)
    }
  })
})
