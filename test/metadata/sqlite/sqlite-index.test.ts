import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import type { Link } from '../../../src/metadata/metadata-store.ts'
import { oldStatements } from '../../../src/metadata/sqlite/old-statements.ts'
import { migrations, schemaVersion } from '../../../src/metadata/sqlite/sqlite-schema.ts'
import { statements } from '../../../src/metadata/sqlite/sqlite-statements.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { contentIndexConformance } from '../../conformance/content-index.ts'
import { tempDir } from '../../support/temp.ts'
import { temporaryStore } from '../stored.ts'
import { versionOne } from './version-one.ts'

contentIndexConformance('The SQLite index', async () => {
  const store = await temporaryStore()
  return { store, index: store.index, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
})

const repository = 'docker.io/library/alpine'
const [one, two] = [digestOf(Buffer.from('one')), digestOf(Buffer.from('two'))]
const link: Link = { kind: 'blob', digest: one, size: 7, mediaType: 'application/x', visibility: 'public' }
const record = { digest: one, mediaType: 'application/x', size: 1, etag: undefined, checkedAt: 1 }

async function fill(store: SqliteStore): Promise<void> {
  const { index } = store
  await store.index.recordAccesses([{ digest: one, size: 5, at: 1 }])
  await store.setTag(repository, 'latest', record)
  await store.addLinks(repository, [link])
  await index.addReferences(two, [one])
  await index.addPin('docker.io/*')
  await index.addCounts(1000, { hit: 2 })
}

suite('The SQLite index', () => {
  test('keeps everything when it is opened again', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const pins = { path: join(dir.path, 'pins.json') }
    {
      await using store = SqliteStore.open(path, { pins })
      await fill(store)
    }
    await using store = SqliteStore.open(path, { pins })
    const { index } = store
    assert.deepEqual(await index.lastAccess(one), { digest: one, size: 5, at: 1 })
    assert.deepEqual(await index.parentsOf(one), [two])
    assert.deepEqual(await index.repositoriesOf(one), [repository])
    assert.deepEqual(await index.pins(), ['docker.io/*'])
    assert.deepEqual(await index.totals(), { hit: 2 })
    assert.deepEqual(await index.buckets(0), [{ at: 1000, counts: { hit: 2 } }])
  })

  test('is closed with its store', async () => {
    const store = SqliteStore.open(':memory:')
    await store[Symbol.asyncDispose]()
    await assert.rejects(store.index.totals())
  })

  test('starts empty but for pins, like its store, after its file turned out damaged', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const pins = { path: join(dir.path, 'pins.json') }
    {
      await using store = SqliteStore.open(path, { pins })
      await fill(store)
    }
    writeFileSync(path, readFileSync(path).fill(7, 4096))
    let reports = 0
    await using store = SqliteStore.open(path, { pins, onDamage: () => (reports += 1) })
    await store.index.addReferences(two, [one])
    assert.equal(reports, 1)
    assert.deepEqual(await store.index.childrenOf(two), [one])
    assert.deepEqual(await store.index.pins(), ['docker.io/*'])
    await store.setTag(repository, 'latest', record)
    assert.equal((await store.index.images('', undefined, 10)).length, 1)
    assert.equal(reports, 1)
  })

  test('uses an index for every statement, and never sorts', () => {
    using database = new DatabaseSync(':memory:')
    for (const step of migrations) database.exec(step)
    const all = [...Object.entries(statements), ...Object.entries(oldStatements), ...triggered(database)]
    assert.ok(all.length > 80, `${all.length} statements`)
    for (const [name, sql] of all) {
      for (const { detail } of database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()) {
        // The three that are read whole are small: one row, the pins of people, the names of counts. What is taken out of
        // the old tables is taken from their beginning.
        assert.match(String(detail), name.startsWith('take') ? taken : searched, name)
      }
    }
  })
})

const searched = /^(SEARCH .*[<=>]|(LIST|SCALAR|CORRELATED SCALAR) SUBQUERY|SCAN (totals|pins|count_totals)$)/
const taken = /^(SEARCH .*[<=>]|LIST SUBQUERY|SCAN old_\w+$)/

/** The statements of triggers, by the names of these. */
function triggered(database: DatabaseSync): [string, string][] {
  const triggers = database.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all()
  return triggers.flatMap(({ name, sql }) => {
    const body = /BEGIN(.*)END/s.exec(String(sql))?.[1] ?? ''
    const each = body.replaceAll(/\b(?:old|new)\.\w+/g, '?').split(';')
    return each.filter((text) => text.trim() !== '').map((text): [string, string] => [String(name), text])
  })
}

suite('A SQLite file of version 1', () => {
  test('keeps its content, which is then indexed', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    {
      using database = new DatabaseSync(path)
      database.exec(versionOne)
      database.prepare('INSERT INTO uses VALUES (?, 5, 9)').run(one)
      database.prepare(`INSERT INTO tags VALUES (?, 'latest', ?, 'application/x', 1, NULL, 1)`).run(repository, one)
      database.prepare(`INSERT INTO links VALUES (?, 'blob', ?, 7, 'application/x', 'public')`).run(repository, one)
    }
    for (const opening of ['first', 'second']) {
      await using store = SqliteStore.open(path, {
        pins: { path: join(dir.path, 'pins.json') },
        onDamage: (_, cause) => assert.fail(`${opening}: ${cause}`),
      })
      assert.deepEqual(await store.index.usage(), { blobs: 1, bytes: 5 })
      assert.deepEqual(await store.tag(repository, 'latest'), record)
      assert.deepEqual(await store.link(repository, 'blob', one), link)
      assert.deepEqual(await store.index.lastAccess(one), { digest: one, size: 5, at: 9 })
      assert.deepEqual(await store.index.repositoriesOf(one), [repository])
      assert.equal((await store.index.images('docker.io/', undefined, 10))[0]?.digest, one)
      assert.equal(await store.index.addPin('docker.io/*'), opening === 'first')
      await store.index.addReferences(two, [one])
    }
    using database = new DatabaseSync(path)
    assert.equal(database.prepare('PRAGMA user_version').get()?.['user_version'], schemaVersion)
  })

  test('gets the same tables as a new file', () => {
    using old = new DatabaseSync(':memory:')
    using fresh = new DatabaseSync(':memory:')
    old.exec(versionOne)
    for (const step of migrations.slice(1)) old.exec(step)
    for (const step of migrations) fresh.exec(step)
    const tables = (database: DatabaseSync) =>
      database
        .prepare('SELECT name, sql FROM sqlite_schema ORDER BY name')
        .all()
        .map(({ name, sql }) => `${name} ${String(sql).replaceAll(/\s+/g, ' ')}`)
    assert.deepEqual(tables(old), tables(fresh))
  })

  test('that is locked is neither changed nor replaced', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    using database = new DatabaseSync(path)
    database.exec(versionOne)
    database.exec('BEGIN IMMEDIATE')
    assert.throws(() => SqliteStore.open(path, { onDamage: () => assert.fail('damaged') }), /cannot open .*: .*locked/)
    database.exec('ROLLBACK')
    assert.equal(database.prepare('PRAGMA user_version').get()?.['user_version'], 1)
    await using store = SqliteStore.open(path)
    assert.deepEqual(await store.index.pins(), [])
  })
})
