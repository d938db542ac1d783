import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import type { Link, LinkKind } from '../../../src/metadata/metadata-store.ts'
import { RowMover } from '../../../src/metadata/sqlite/row-mover.ts'
import { SqliteConnection } from '../../../src/metadata/sqlite/sqlite-connection.ts'
import { SqliteFile } from '../../../src/metadata/sqlite/sqlite-file.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { tempDir } from '../../support/temp.ts'
import { until } from '../../support/wait.ts'
import { type VersionTwo, writeVersionTwo } from './version-two.ts'

/** Rows move when the test says so. */
const notMoving = { onFailure: () => undefined, pause: 600_000 }
const program = join(import.meta.dirname, 'mover.ts')
const day = Date.UTC(2026, 0, 1)

function digest(n: number | string): Digest {
  return digestOf(Buffer.from(`${n}`), n === 7 ? 'sha512' : 'sha256')
}

type Content = Required<Omit<VersionTwo, 'pins'>>

/** Four rows for each blob, but for the tags: one for each ten. */
function contentOf(blobs: number): Content {
  const all = Array.from({ length: blobs }, (_, n) => n)
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  const repositoryOf = (n: number) => `docker.io/library/r${n % 50}`
  return {
    uses: all.map((n) => ({ digest: digest(n), size: n, at: day + (n % 97) })),
    links: all.map((n) => {
      const kind = n % 10 === 0 ? 'manifest' : 'blob'
      const visibility = n % 3 === 0 ? 'unproven' : 'public'
      return { repository: repositoryOf(n), kind, digest: digest(n), size: n % 7 || undefined, mediaType, visibility }
    }),
    names: all.map((n) => [digest(n - (n % 10)), digest(n)]),
    tags: all
      .filter((n) => n % 10 === 0)
      .map((n) => {
        const etag = n % 20 === 0 ? `"${n}"` : undefined
        const at = { repository: repositoryOf(n), tag: `v${n}` }
        return { ...at, digest: digest(n), mediaType, size: n, etag, checkedAt: day + n }
      }),
  }
}

function move(path: string, limit: number): ChildProcess {
  const limited = limit > 0 ? `ulimit -f ${limit}; exec "$0" "$@"` : 'exec "$0" "$@"'
  return spawn('sh', ['-c', limited, process.execPath, program, path], { stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Reads all there is, and compares it. */
async function assertHas(store: SqliteStore, content: Content): Promise<void> {
  const { index } = store
  const bytes = content.uses.reduce((sum, { size }) => sum + size, 0)
  assert.deepEqual(await index.usage(), { blobs: content.uses.length, bytes })
  const byDigest = content.uses.toSorted((one, other) => (one.digest < other.digest ? -1 : 1))
  assert.deepEqual(await index.accessesAfter(undefined, content.uses.length + 1), byDigest)
  assert.equal((await index.holdings('', undefined, content.links.length + 1)).length, content.links.length)
  assert.equal((await index.images('', undefined, content.tags.length + 1)).length, content.tags.length)
  for (const { repository, ...link } of content.links) {
    assert.deepEqual(await store.link(repository, link.kind, link.digest), link)
  }
  for (const { repository, tag, ...record } of content.tags) {
    assert.deepEqual(await store.tag(repository, tag), record)
  }
  const children = Map.groupBy(content.names, ([manifest]) => manifest)
  for (const [manifest, named] of children) {
    assert.deepEqual(await index.childrenOf(manifest), named.map(([, child]) => child).sort())
  }
}

async function finished(path: string): Promise<void> {
  using connection = new SqliteConnection(path)
  while (connection.moveOldRows(500));
}

suite('A SQLite file of version 2', () => {
  test('is of the new version at once, so that the program before refuses it, and its rows move by themselves', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const content = contentOf(100)
    writeVersionTwo(path, content)
    const failures: unknown[] = []
    {
      await using store = SqliteStore.open(path, { moving: { onFailure: (error) => failures.push(error), pause: 0 } })
      using looking = new DatabaseSync(path)
      assert.equal(looking.prepare('PRAGMA user_version').get()?.['user_version'], 3)
      await assertHas(store, content)
      const tables = () => looking.prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'old_%'").all()
      assert.ok(tables().length > 0)
      await until(() => tables().length === 0, 'the old tables to go')
      await assertHas(store, content)
    }
    assert.deepEqual(failures, [])
    await using again = SqliteStore.open(path)
    await assertHas(again, content)
  })

  test('with 50,000 rows is moved by processes that are killed, and loses nothing', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const content = contentOf(16_200)
    writeVersionTwo(path, content)
    for (const lines of [1, 40, 300, 301, 700]) {
      const child = move(path, 0)
      let seen = 0
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        seen += text.split('\n').length - 1
        if (seen >= lines) child.kill('SIGKILL')
      })
      await once(child, 'close')
      assert.ok(seen >= lines)
      await using store = SqliteStore.open(path, { onDamage: () => assert.fail('damaged') })
      assert.equal((await store.index.usage()).blobs, content.uses.length)
    }
    await finished(path)
    await using store = SqliteStore.open(path, { onDamage: () => assert.fail('damaged') })
    await assertHas(store, content)
  })

  test('on a disk that becomes full is read as before, and goes on once there is room', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const content = contentOf(3000)
    writeVersionTwo(path, content)
    // In blocks of 512 bytes.
    const child = move(path, Math.ceil(statSync(path).size / 512) + 100)
    const output = (await child.stdout?.setEncoding('utf8').toArray()) ?? []
    const { error, ...end } = JSON.parse(output.join('').trim().split('\n').at(-1) ?? '')
    assert.match(error, /disk/)
    assert.ok(end.steps > 0 && end.steps < 450, `${end.steps} steps`)
    assert.deepEqual([end.accesses, end.holdings], [content.uses.length, content.links.length])
    {
      await using store = SqliteStore.open(path, { moving: notMoving })
      await assertHas(store, content)
    }
    await finished(path)
    await using store = SqliteStore.open(path, { onDamage: () => assert.fail('damaged') })
    await assertHas(store, content)
  })

  test('that another process locks is moved later, and the failure is told once', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    writeVersionTwo(path, contentOf(30))
    using file = SqliteFile.open(path)
    using other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    const failures: unknown[] = []
    using _mover = new RowMover(file, { onFailure: (error) => failures.push(error), pause: 0, retryPause: 1 })
    await until(() => failures.length > 0, 'a failure')
    other.exec('ROLLBACK')
    await until(() => !file.run(({ records }) => records.hasOldTables), 'the rows to be moved')
    assert.match(String(failures), /^Error: database is locked$/)
    assert.equal(file.run(({ records }) => records.accessesAfter(undefined, 99)).length, 30)
  })

  test('drops rows that are no records, and counts them no longer', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const content = contentOf(20)
    const bad = 'sha256:short' as Digest
    const link = content.links[0] as Link & { readonly repository: string }
    const evil = { ...link, digest: digest('evil'), mediaType: 'text/plain\r\nset-cookie: a' }
    writeVersionTwo(path, {
      ...content,
      uses: [...content.uses, { digest: bad, size: 5, at: 1 }, { digest: digest('minus'), size: -5, at: 1 }],
      links: [...content.links, { ...link, digest: bad }, evil, { ...link, kind: 'x' as LinkKind, repository: 'q/r' }],
      names: [...content.names, [bad, digest(1)], [digest(0), bad]],
    })
    {
      await using store = SqliteStore.open(path, { moving: notMoving })
      assert.equal((await store.index.leastRecentlyUsed(undefined, 10)).length, 10)
      assert.equal(await store.link(evil.repository, evil.kind, evil.digest), undefined)
    }
    await finished(path)
    await using store = SqliteStore.open(path)
    await assertHas(store, content)
  })
})
