import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import type { Access } from '../../../src/metadata/access-log.ts'
import { schemaVersion } from '../../../src/metadata/sqlite/sqlite-schema.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { accessLogConformance } from '../../conformance/access-log.ts'
import { metadataStoreConformance } from '../../conformance/metadata-store.ts'
import { tempDir } from '../../support/temp.ts'
import { temporaryStore } from '../stored.ts'

metadataStoreConformance('SQLite', temporaryStore)

accessLogConformance('SQLite', async () => {
  const store = await temporaryStore()
  return { log: store.index, index: store.index, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
})

const repository = 'docker.io/library/alpine'
const digest = digestOf(Buffer.from('one'))
const record = { digest, mediaType: 'application/x', size: 1, etag: undefined, checkedAt: 1 }
const writer = join(import.meta.dirname, 'writer.ts')

function accesses(count: number): Access[] {
  return Array.from({ length: count }, (_, n) => ({ digest: digestOf(Buffer.from(`${n}`)), size: 1, at: n }))
}

async function filled(path: string, count: number): Promise<void> {
  await using store = SqliteStore.open(path)
  await store.setTag(repository, 'latest', record)
  await store.index.recordAccesses(accesses(count))
}

suite('A SQLite file', () => {
  test('keeps everything when it is opened again', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    await filled(path, 10)
    await using store = SqliteStore.open(path)
    assert.deepEqual(await store.tag(repository, 'latest'), record)
    assert.deepEqual(await store.index.usage(), { blobs: 10, bytes: 10 })
    assert.equal((await store.index.leastRecentlyUsed(undefined, 100)).length, 10)
  })

  test('uses a write-ahead log, and is one file when closed', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    await filled(path, 10)
    assert.deepEqual(readdirSync(dir.path), ['metadata.sqlite'])
    using database = new DatabaseSync(path)
    assert.equal(database.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'wal')
  })

  test('of a newer version is refused in one line, and not changed', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    await filled(path, 10)
    {
      using database = new DatabaseSync(path)
      database.exec('PRAGMA user_version = 99')
    }
    const before = readFileSync(path)
    const known = `this program knows versions up to ${schemaVersion}`
    const message = `cannot open the metadata in ${path}: its layout is version 99, and ${known}`
    assert.throws(() => SqliteStore.open(path), { message })
    assert.deepEqual(readdirSync(dir.path), ['metadata.sqlite'])
    assert.deepEqual(readFileSync(path), before)
  })

  test('that cannot be opened is refused in one line', async () => {
    await using dir = await tempDir()
    const message = `cannot open the metadata in ${dir.path}: unable to open database file`
    assert.throws(() => SqliteStore.open(dir.path), { message })
  })

  test('fails at once while another process locks it, and works afterwards', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    await filled(path, 10)
    await using store = SqliteStore.open(path)
    using other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    await assert.rejects(store.setTag(repository, 'edge', record), /locked/)
    await assert.rejects(store.index.recordAccesses(accesses(20)), /locked/)
    assert.deepEqual(await store.tag(repository, 'latest'), record)
    assert.deepEqual(await store.index.usage(), { blobs: 10, bytes: 10 })
    other.exec('ROLLBACK')
    await store.index.recordAccesses(accesses(20))
    assert.deepEqual(await store.index.usage(), { blobs: 20, bytes: 20 })
  })

  test('takes all of a batch or none of it', async () => {
    await using store = SqliteStore.open(':memory:')
    const link = { kind: 'blob', digest, size: 7, mediaType: 'application/x', visibility: 'public' } as const
    const impossible = { ...link, mediaType: undefined as never }
    await assert.rejects(store.addLinks(repository, [link, impossible]))
    assert.equal(await store.link(repository, 'blob', digest), undefined)
    await assert.rejects(store.index.recordAccesses([...accesses(10), { digest, size: 0.5, at: 1 }]))
    assert.deepEqual(await store.index.usage(), { blobs: 0, bytes: 0 })
    await store.addLinks(repository, [link])
    assert.deepEqual(await store.link(repository, 'blob', digest), link)
  })

  test('can be closed twice, and fails afterwards', async () => {
    const store = SqliteStore.open(':memory:')
    await store[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
    await assert.rejects(store.tag(repository, 'latest'))
  })
})

suite('A damaged SQLite file is set aside and replaced', () => {
  const damages: Record<string, (path: string) => void> = {
    'that is not a database': (path) => writeFileSync(path, 'not a database '.repeat(1000)),
    'with a torn header': (path) => writeFileSync(path, readFileSync(path).fill(7, 0, 60)),
    'with a torn first page': (path) => writeFileSync(path, readFileSync(path).fill(7, 100, 4096)),
    'with tables of another version': (path) => {
      using database = new DatabaseSync(path)
      database.exec('DROP TABLE uses')
    },
    'beside a foreign log': (path) => {
      writeFileSync(path, 'not a database '.repeat(1000))
      writeFileSync(`${path}-wal`, 'not a log')
    },
  }

  for (const [what, damage] of Object.entries(damages)) {
    test(`while opening: one ${what}`, async () => {
      await using dir = await tempDir()
      const path = join(dir.path, 'metadata.sqlite')
      await filled(path, 100)
      damage(path)
      const damaged = readFileSync(path)
      const reports: string[] = []
      {
        await using store = SqliteStore.open(path, { onDamage: (setAside) => reports.push(setAside) })
        assert.deepEqual(await store.index.usage(), { blobs: 0, bytes: 0 })
        await store.index.recordAccesses(accesses(3))
      }
      assert.equal(reports.length, 1)
      assert.ok(reports[0]?.startsWith(`${path}.corrupt-`))
      assert.deepEqual(readFileSync(reports[0] ?? ''), damaged)
      await using again = SqliteStore.open(path, { onDamage: (setAside) => reports.push(setAside) })
      assert.deepEqual(await again.index.usage(), { blobs: 3, bytes: 3 })
      assert.equal(reports.length, 1)
    })
  }

  test('while running', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    await filled(path, 0)
    // Behind the pages that are read while it is opened.
    const start = statSync(path).size
    await filled(path, 1000)
    writeFileSync(path, readFileSync(path).fill(7, start))
    const reports: unknown[] = []
    await using store = SqliteStore.open(path, { onDamage: (setAside, cause) => reports.push(setAside, cause) })
    assert.equal(reports.length, 0)
    await store.index.recordAccesses(accesses(1000))
    assert.equal(reports.length, 2)
    assert.match(String(reports[1]), /malformed/)
    assert.ok(existsSync(String(reports[0])))
    assert.deepEqual(await store.index.usage(), { blobs: 1000, bytes: 1000 })
    assert.equal(await store.tag(repository, 'latest'), undefined)
    await store.setTag(repository, 'latest', record)
    assert.deepEqual(await store.tag(repository, 'latest'), record)
  })
})

suite('A SQLite file stays consistent', () => {
  test('when its process is killed', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const child = spawn(process.execPath, [writer, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.length > 200) child.kill('SIGKILL')
    })
    await once(child, 'close')
    const written = Number(output.split('\n').at(-2))
    await using store = SqliteStore.open(path, { onDamage: () => assert.fail('damaged') })
    const { blobs, bytes } = await store.index.usage()
    assert.ok(blobs >= written && blobs % 100 === 0, `${blobs} kept of ${written} written`)
    assert.equal(bytes, 3 * blobs)
    assert.equal((await store.index.leastRecentlyUsed(undefined, 1_000_000)).length, blobs)
  })

  test('when the disk is full: writing fails, reading does not', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const limited = 'ulimit -f 512; exec "$0" "$@"'
    const child = spawn('sh', ['-c', limited, process.execPath, writer, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const output = await child.stdout.setEncoding('utf8').toArray()
    const end = JSON.parse(output.join('').trim().split('\n').at(-1) ?? '')
    assert.match(end.error, /disk/)
    assert.ok(end.written > 0)
    assert.deepEqual(end.usage, { blobs: end.written, bytes: 3 * end.written })
    await using store = SqliteStore.open(path, { onDamage: () => assert.fail('damaged') })
    assert.deepEqual(await store.index.usage(), end.usage)
  })
})
