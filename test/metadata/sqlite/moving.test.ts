import assert from 'node:assert/strict'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { Access } from '../../../src/metadata/access-log.ts'
import type { Holding, TaggedImage } from '../../../src/metadata/content-index.ts'
import type { Link, LinkKind } from '../../../src/metadata/metadata-store.ts'
import { SqliteFile } from '../../../src/metadata/sqlite/sqlite-file.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { tempDir } from '../../support/temp.ts'
import { type VersionTwo, writeVersionTwo } from './version-two.ts'

/** Rows move when the test says so. */
const notMoving = { onFailure: () => undefined, pause: 600_000 }

function digest(n: number): Digest {
  return digestOf(Buffer.from(`${n}`), n === 1 ? 'sha512' : 'sha256')
}

/** What may be done to a store. */
type Operation = (store: SqliteStore) => Promise<unknown>

const small = fc.nat(5).map(digest)
const repository = fc.constantFrom('docker.io/a/b', 'docker.io/a/bc', 'ghcr.io/a/b')
const tag = fc.constantFrom('a', 'b')
const time = fc.nat(9)
const kind = fc.constantFrom<LinkKind[]>('manifest', 'blob')
const access: fc.Arbitrary<Access> = fc.record({ digest: small, size: fc.nat(9), at: time })
const mediaType = fc.constantFrom('application/x', 'application/y')
const link: fc.Arbitrary<Link> = fc.record({
  kind,
  digest: small,
  size: fc.option(fc.nat(3), { nil: undefined }),
  mediaType,
  visibility: fc.constantFrom<Link['visibility'][]>('public', 'unproven'),
})
const record = fc.record({
  digest: small,
  mediaType,
  size: fc.nat(9),
  etag: fc.option(fc.constantFrom('', '"e"'), { nil: undefined }),
  checkedAt: time,
})
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(repository, tag, record).map(
    ([...set]): Operation =>
      (store) =>
        store.setTag(...set),
  ),
  fc.tuple(repository, tag).map(
    ([...of]): Operation =>
      (store) =>
        store.deleteTag(...of),
  ),
  fc.tuple(repository, fc.array(link, { maxLength: 3 })).map(
    ([...add]): Operation =>
      (store) =>
        store.addLinks(...add),
  ),
  fc.array(access, { maxLength: 4, size: 'max' }).map(
    (all): Operation =>
      (store) =>
        store.index.recordAccesses(all),
  ),
  fc.tuple(small, time).map(
    ([...of]): Operation =>
      (store) =>
        store.index.forgetAccess(...of),
  ),
  fc.tuple(small, fc.array(small, { maxLength: 3 })).map(
    ([...add]): Operation =>
      (store) =>
        store.index.addReferences(...add),
  ),
  small.map(
    (of): Operation =>
      (store) =>
        store.index.deleteReferences(of),
  ),
  small.map(
    (of): Operation =>
      (store) =>
        store.index.deleteLinks(of),
  ),
  repository.map(
    (of): Operation =>
      (store) =>
        store.index.deleteRepository(of),
  ),
  time.map(
    (before): Operation =>
      (store) =>
        store.index.expire(before),
  ),
)

const digests = [0, 1, 2, 3, 4, 5].map(digest)

/** Everything that is listed, in pages of two. */
async function listAll({ index }: SqliteStore): Promise<unknown> {
  const graph = digests.map(async (of) => [
    await index.childrenOf(of),
    await index.parentsOf(of),
    await index.repositoriesOf(of),
    await index.lastAccess(of),
  ])
  return {
    usage: await index.usage(),
    byAge: await paged<Access>((after) => index.leastRecentlyUsed(after, 2)),
    byDigest: await paged<Access>((after) => index.accessesAfter(after?.digest, 2)),
    images: await paged<TaggedImage>((after) => index.images('', after, 2)),
    docker: await index.images('docker.io/', undefined, 9),
    holdings: await paged<Holding>((after) => index.holdings('', after, 2)),
    graph: await Promise.all(graph),
  }
}

async function paged<Item>(list: (after: Item | undefined) => Promise<readonly Item[]>): Promise<Item[]> {
  const all: Item[] = []
  for (let page = await list(undefined); page.length > 0; page = await list(all.at(-1))) all.push(...page)
  return all
}

/** All that a store has, for a database of version 2. */
async function contentOfStore(store: SqliteStore): Promise<VersionTwo> {
  const { index } = store
  const found = <Value>(value: Value | undefined): Value => value ?? assert.fail('absent')
  const links = (await index.holdings('', undefined, 99)).map(async ({ repository, kind, digest: of }) => ({
    repository,
    ...found(await store.link(repository, kind, of)),
  }))
  const tags = (await index.images('', undefined, 99)).map(async ({ repository, tag }) => ({
    repository,
    tag,
    ...found(await store.tag(repository, tag)),
  }))
  const names = digests.map(async (of) => (await index.childrenOf(of)).map((child) => [of, child] as const))
  return {
    uses: await index.accessesAfter(undefined, 99),
    links: await Promise.all(links),
    tags: await Promise.all(tags),
    names: (await Promise.all(names)).flat(),
  }
}

async function readRecords(store: SqliteStore): Promise<unknown> {
  const all: unknown[] = []
  for (const name of ['docker.io/a/b', 'docker.io/a/bc', 'ghcr.io/a/b']) {
    for (const each of ['a', 'b']) all.push(await store.tag(name, each))
    for (const of of digests) all.push(await store.link(name, 'blob', of), await store.link(name, 'manifest', of))
  }
  return all
}

suite('A SQLite file whose rows are being moved', () => {
  test('answers as one that has had them all from the start', async () => {
    const step = fc.oneof({ arbitrary: operation, weight: 3 }, { arbitrary: fc.constant('move' as const), weight: 1 })
    const property = fc.asyncProperty(
      fc.array(operation, { maxLength: 25, size: 'max' }),
      fc.array(step, { maxLength: 25, size: 'max' }),
      async (before, after) => {
        await using dir = await tempDir()
        const path = join(dir.path, 'old.sqlite')
        await using model = SqliteStore.open(':memory:')
        for (const act of before) await act(model)
        writeVersionTwo(path, await contentOfStore(model))
        const file = SqliteFile.open(path)
        await using store = new SqliteStore(file, { moving: notMoving })
        for (const act of after) {
          if (act === 'move') file.run((connection) => connection.moveOldRows(2))
          else {
            await act(model)
            await act(store)
          }
          assert.deepEqual(await listAll(store), await listAll(model))
          assert.deepEqual(await readRecords(store), await readRecords(model))
        }
        while (file.run((connection) => connection.moveOldRows(3)));
        assert.deepEqual(await listAll(store), await listAll(model))
        assert.deepEqual(await readRecords(store), await readRecords(model))
      },
    )
    await fc.assert(property, { numRuns: 50 })
  })
})
