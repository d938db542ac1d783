import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, open, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { nothingMoved } from '../../src/storage/body-reader.ts'
import { DataFolder, DataFolderError } from '../../src/storage/data-folder.ts'
import { FileStore } from '../../src/storage/file-store.ts'
import { IoThreads } from '../../src/storage/io-threads.ts'
import { pathOf } from '../../src/storage/layout.ts'
import { Spool } from '../../src/storage/spool/spool.ts'
import { blobStoreConformance } from '../conformance/blob-store.ts'
import { randomBlob } from '../support/image.ts'
import { untilMoving } from '../support/moving.ts'
import { dropFromMemory } from '../support/page-cache.ts'
import { socketPair } from '../support/socket-pair.ts'
import { tempDir } from '../support/temp.ts'

const ioThreads = new IoThreads()

for (const [name, help] of [
  ['FileStore', undefined],
  ['FileStore with an ioThreads', ioThreads],
] as const) {
  blobStoreConformance(name, async () => {
    const dir = await tempDir()
    const folder = await DataFolder.open(dir.path)
    return {
      store: new FileStore(dir.path, help),
      createSpool: () => Spool.create(pathOf(dir.path, { kind: 'spool' }), { ...(help && { ioThreads: help }) }),
      // Beside them the folder's own lock is open.
      path: join(dir.path, 'blobs'),
      sending: help?.sending,
      opensCached: help?.pageCache !== undefined,
      async [Symbol.asyncDispose]() {
        folder[Symbol.dispose]()
        await dir[Symbol.asyncDispose]()
      },
    }
  })
}

describe('FileStore', () => {
  it('fails a body whose file has become shorter, instead of ending it', async () => {
    await using dir = await tempDir()
    using _folder = await DataFolder.open(dir.path)
    const store = new FileStore(dir.path)
    const body = Buffer.alloc(1_000_000, 1)
    const digest = digestOf(body)
    await writeFile(pathOf(dir.path, { kind: 'blob', digest }), body)
    const opened = await store.open(digest)
    assert.ok(opened)
    await truncate(pathOf(dir.path, { kind: 'blob', digest }), 300_000)
    const reader = opened.reader({ start: 0, end: body.length - 1 })
    await assert.rejects(async () => {
      while (await reader.read());
    }, /ended at 300000/)
    await reader.close()
  })
})

const withoutSending = ioThreads.sending ? false : 'sendfile(2) cannot be called here'

describe('a body that is not in memory', { skip: withoutSending }, () => {
  const MiB = 1024 * 1024

  it('is read for a while before moving it is tried again, and is moved once it is in memory', async (test) => {
    await using dir = await tempDir()
    using _folder = await DataFolder.open(dir.path)
    await using pair = await socketPair()
    const content = randomBlob(12 * MiB)
    const path = pathOf(dir.path, { kind: 'blob', digest: digestOf(content) })
    await writeFile(path, content, { flush: true })
    await untilMoving(ioThreads.sending)
    const blob = await new FileStore(dir.path, ioThreads).open(digestOf(content))
    const reader = blob?.reader({ start: 0, end: content.length - 1 })
    assert.ok(reader)
    await using file = await open(path)
    dropFromMemory(file.fd, 0, content.length)
    const transfer = () => reader.transfer(() => pair.ours.fd, content.length)
    const first = await transfer()
    if (first.bytes > 0) {
      await reader.close()
      return test.skip('the system keeps it in memory')
    }
    assert.ok(content.equals(await readFile(path)))
    let read = 0
    while (read < 8 * MiB) {
      assert.deepEqual(await transfer(), nothingMoved)
      const bytes = await reader.read()
      assert.ok(bytes?.equals(content.subarray(read, read + 256 * 1024)))
      read += 256 * 1024
    }
    const received = pair.theirs.receive(4 * MiB)
    assert.deepEqual(await transfer(), { bytes: 4 * MiB, full: false })
    assert.ok((await received).equals(content.subarray(8 * MiB)))
    await reader.close()
  })
})

describe('DataFolder', () => {
  it('creates the layout, and empties the ingest that a dead process left', async () => {
    await using dir = await tempDir()
    const root = join(dir.path, 'made', 'here')
    using first = await DataFolder.open(root)
    first[Symbol.dispose]()
    await writeFile(join(root, 'ingest', 'left-over'), 'half a blob')
    await mkdir(join(root, 'ingest', 'folder'))
    using _second = await DataFolder.open(root)
    assert.deepEqual(await readdir(join(root, 'ingest')), [])
    assert.deepEqual((await readdir(root)).sort(), ['blobs', 'ingest', 'lock', 'version'])
  })

  it('is made for its owner alone, and is left as it is where it is there', async () => {
    await using dir = await tempDir()
    const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)
    const root = join(dir.path, 'made', 'here')
    using _made = await DataFolder.open(root)
    assert.equal(await modeOf(root), '700')
    assert.notEqual(await modeOf(join(dir.path, 'made')), '700')
    const known = join(dir.path, 'known')
    await mkdir(known)
    await chmod(known, 0o755)
    using _known = await DataFolder.open(known)
    assert.equal(await modeOf(known), '755')

    const spool = await Spool.create(pathOf(root, { kind: 'spool' }))
    await spool.append(Buffer.from('{}'))
    spool.release()
    const digest = digestOf(Buffer.from('{}'))
    const note = { mediaType: 'application/x', repositories: { 'ghcr.io/a/b': 'unproven' } } as const
    await new FileStore(root).adopt(digest, spool, note)
    await spool.close()
    assert.equal(await modeOf(pathOf(root, { kind: 'note', digest })), '600')
    assert.equal(await modeOf(pathOf(root, { kind: 'blob', digest })), '444')
  })

  it('refuses a second owner in one line, and does not disturb the first', async () => {
    await using dir = await tempDir()
    using _owner = await DataFolder.open(dir.path)
    await writeFile(join(dir.path, 'ingest', 'busy'), 'a running fill')
    await assert.rejects(DataFolder.open(dir.path), (error: Error) => {
      assert.ok(error instanceof DataFolderError)
      assert.equal(error.message, `data folder ${dir.path} is in use by another entrepot process`)
      return true
    })
    assert.deepEqual(await readdir(join(dir.path, 'ingest')), ['busy'])
  })

  it('can be opened after its owner was killed', async () => {
    await using dir = await tempDir()
    const module = new URL('../../src/storage/data-folder.ts', import.meta.url)
    const script = `const { DataFolder } = await import(${JSON.stringify(module.href)})
      globalThis.folder = await DataFolder.open(${JSON.stringify(dir.path)})
      console.log('open'); setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(owner.stdout, 'data')
    await assert.rejects(DataFolder.open(dir.path), /in use/)
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    using _folder = await DataFolder.open(dir.path)
  })

  it('refuses an unknown layout version', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'version'), '9\n')
    await assert.rejects(DataFolder.open(dir.path), /layout version 9; this is version 1/)
  })

  it('names the folder that cannot be created', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'file'), '')
    const root = join(dir.path, 'file', 'data')
    await assert.rejects(DataFolder.open(root), (error: Error) => {
      assert.ok(error instanceof DataFolderError)
      assert.ok(error.message.includes(root))
      assert.ok(!error.message.includes('\n'))
      return true
    })
  })
})
