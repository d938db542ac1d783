import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import type { Access } from '../../../src/metadata/access-log.ts'
import type { Link } from '../../../src/metadata/metadata-store.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { bytesOfDigest, digestOfBytes, firstIdOf } from '../../../src/metadata/sqlite/stored-digest.ts'
import { algorithms, type Digest, digestOf, parseDigest } from '../../../src/oci/digest.ts'
import { tempDir } from '../../support/temp.ts'

const repository = 'docker.io/library/alpine'
const mediaType = 'application/x'

function digest(n: number | string): Digest {
  return digestOf(Buffer.from(`${n}`))
}

function link(of: Digest, change: Partial<Link> = {}): Link {
  return { kind: 'blob', digest: of, size: 1, mediaType, visibility: 'public', ...change }
}

function record(of: Digest, checkedAt = 1) {
  return { digest: of, mediaType, size: 1, etag: undefined, checkedAt }
}

/** Digests that have the same first bytes, in order. */
function alike(count: number): Digest[] {
  return Array.from({ length: count }, (_, n) => {
    const made = parseDigest(`sha256:${'ab'.repeat(8)}${n.toString(16).padStart(48, '0')}`)
    return made ?? assert.fail('no digest')
  })
}

/** A store, and its file for those who look into it. */
async function openStore() {
  const dir = await tempDir()
  const path = join(dir.path, 'metadata.sqlite')
  const store = SqliteStore.open(path)
  const database = new DatabaseSync(path)
  const count = (table: string) => Number(database.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.['n'])
  return {
    store,
    index: store.index,
    database,
    names: () => ['digests', 'repositories', 'media_types'].map(count),
    async [Symbol.asyncDispose]() {
      database.close()
      await store[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

suite('A digest in a database', () => {
  test('comes back from its bytes, and other bytes are none', () => {
    for (const algorithm of algorithms) {
      const one = digestOf(Buffer.from('x'), algorithm)
      assert.equal(digestOfBytes(bytesOfDigest(one)), one)
      assert.equal(digestOfBytes(bytesOfDigest(one).subarray(1)), undefined)
      assert.equal(digestOfBytes(bytesOfDigest(one).subarray(0, -1)), undefined)
    }
    for (const other of [Buffer.alloc(0), Buffer.alloc(33, 3), 'sha256:', 5n, null]) {
      assert.equal(digestOfBytes(other), undefined)
    }
  })

  test('has bytes and an id that sort as its text does', () => {
    const all = algorithms.flatMap((algorithm) =>
      Array.from({ length: 200 }, (_, n) => digestOf(Buffer.from(`${n}`), algorithm)),
    )
    const sorted = all.toSorted()
    assert.deepEqual(
      all.toSorted((a, b) => bytesOfDigest(a).compare(bytesOfDigest(b))),
      sorted,
    )
    assert.deepEqual(
      all.toSorted((a, b) => (firstIdOf(a) < firstIdOf(b) ? -1 : 1)),
      sorted,
    )
  })
})

suite('The tables of a SQLite file', () => {
  test('have each digest, repository and media type once, for as long as something refers to it', async () => {
    await using opened = await openStore()
    const { store, index, names } = opened
    const [one, two, three] = [digest(1), digest(2), digest(3)]
    await store.addLinks(repository, [link(one), link(one, { kind: 'manifest' }), link(two)])
    await store.addLinks('ghcr.io/a/b', [link(one, { mediaType: 'application/y' })])
    await store.setTag(repository, 'latest', record(three))
    await index.recordAccesses([{ digest: one, size: 1, at: 1 }])
    await index.addReferences(one, [two, three])
    assert.deepEqual(names(), [3, 2, 2])
    await index.deleteLinks(one)
    assert.deepEqual(names(), [3, 1, 1])
    await index.deleteReferences(one)
    assert.deepEqual(names(), [3, 1, 1])
    await index.forgetAccess(one, 1)
    assert.deepEqual(names(), [2, 1, 1])
    await store.setTag(repository, 'latest', { ...record(two), mediaType: 'application/y' })
    assert.deepEqual(names(), [1, 1, 2])
    await store.addLinks(repository, [link(two, { mediaType: 'application/y' })])
    assert.deepEqual(names(), [1, 1, 1])
    await index.expire(2)
    assert.deepEqual(names(), [1, 1, 1])
    await index.deleteRepository(repository)
    assert.deepEqual(names(), [0, 0, 0])
  })

  test('have nothing of what is not kept', async () => {
    await using opened = await openStore()
    const { store, index, names } = opened
    await store.setTag(repository, 'latest', record(digest(1), 5))
    await store.setTag(repository, 'latest', { ...record(digest(2), 4), mediaType: 'application/y' })
    await index.recordAccesses([{ digest: digest(1), size: 1, at: 5 }])
    await index.recordAccesses([{ digest: digest(1), size: 1, at: 4 }])
    assert.deepEqual(names(), [1, 1, 1])
  })

  test('keep digests apart that begin alike, as far as there are ids', async () => {
    await using opened = await openStore()
    const { store, index, names } = opened
    const made = alike(17)
    const [first, ...others] = made.slice(0, 16)
    const last = made.at(-1)
    if (!first || !last) assert.fail('no digests')
    const access = (of: Digest, at: number): Access => ({ digest: of, size: at, at })
    const accesses = made.slice(0, 16).map(access)
    await index.recordAccesses(accesses)
    await store.addLinks(
      repository,
      others.map((of) => link(of)),
    )
    assert.deepEqual(await index.accessesAfter(undefined, 99), accesses)
    for (const one of accesses) assert.deepEqual(await index.lastAccess(one.digest), one)
    await assert.rejects(index.recordAccesses([access(last, 1)]), /has no id: 16 digests that begin alike/)
    assert.equal(await index.lastAccess(last), undefined)
    // What goes makes room, and what comes again is found where it was.
    assert.equal(await index.forgetAccess(first, 0), true)
    await index.recordAccesses([access(last, 1)])
    for (const one of accesses.slice(1)) assert.deepEqual(await index.lastAccess(one.digest), one)
    assert.deepEqual(await index.lastAccess(last), access(last, 1))
    assert.equal(names()[0], 16)
    assert.deepEqual(await index.usage(), { blobs: 16, bytes: 121 })
  })

  test('a page of a list is full, whatever rows are no records, and these are replaced', async () => {
    await using opened = await openStore()
    const { store, index, database } = opened
    const made = Array.from({ length: 40 }, (_, n) => digest(n))
    await index.recordAccesses(made.map((of, n): Access => ({ digest: of, size: n, at: n })))
    for (const [n, of] of made.entries()) await store.setTag(repository, `t${100 + n}`, record(of, n))
    await store.addLinks(
      repository,
      made.map((of) => link(of)),
    )
    // More than JavaScript's numbers hold, and what cannot be.
    database.exec('UPDATE uses SET size = 9007199254740993 WHERE at < 10; UPDATE uses SET size = -1 WHERE at = 10')
    database.exec("UPDATE tags SET checked_at = 9007199254740993 WHERE tag < 't111'")
    database.exec("UPDATE links SET size = -5; UPDATE media_types SET name = 'a/b' || char(13) || char(10)")
    const good = made.slice(11)
    assert.deepEqual(
      (await index.leastRecentlyUsed(undefined, 5)).map((each) => each.digest),
      good.slice(0, 5),
    )
    assert.equal((await index.accessesAfter(undefined, 29)).length, 29)
    assert.deepEqual(await index.images('', undefined, 5), [])
    for (const of of made) assert.equal(await store.link(repository, 'blob', of), undefined)
    for (const of of made) assert.equal(await index.repositoriesOf(of).then((all) => all.length), 1)

    for (const of of made) await index.recordAccesses([{ digest: of, size: 1, at: 1 }])
    for (const [n, of] of made.entries()) await store.setTag(repository, `t${100 + n}`, record(of, 50))
    await store.addLinks(
      repository,
      made.map((of) => link(of, { size: undefined })),
    )
    assert.equal((await index.leastRecentlyUsed(undefined, 99)).length, 40)
    assert.equal((await index.images('', undefined, 99)).length, 40)
    for (const of of made) assert.deepEqual(await store.link(repository, 'blob', of), link(of, { size: undefined }))
  })
})
