import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MemoryTier, type MemoryTierOptions } from '../../../src/metadata/memory/memory-tier.ts'
import type { Link, TagRecord } from '../../../src/metadata/metadata-store.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { metadataStoreConformance } from '../../conformance/metadata-store.ts'
import { Gate } from '../../support/gate.ts'
import { TroubledStore } from '../troubled-store.ts'

const noFailure = (error: unknown) => assert.fail(`failed: ${error}`)

function beforeSqlite(options: Pick<MemoryTierOptions, 'tags' | 'links'> = {}): MemoryTier {
  const store = SqliteStore.open(':memory:')
  return new MemoryTier({ store, accesses: store.index, onFailure: noFailure, ...options })
}

metadataStoreConformance('Memory in front of SQLite', async () => beforeSqlite())

metadataStoreConformance('A memory too small for any record, in front of SQLite,', async () => {
  const nothing = { entries: 1, bytes: 1 }
  return beforeSqlite({ tags: nothing, links: nothing })
})

const repository = 'docker.io/library/alpine'
const one = digestOf(Buffer.from('one'))
const two = digestOf(Buffer.from('two'))
const link: Link = { kind: 'blob', digest: one, size: 7, mediaType: 'application/x', visibility: 'public' }

function record(checkedAt: number): TagRecord {
  return { digest: one, mediaType: 'application/x', size: 1, etag: undefined, checkedAt }
}

function before(store: TroubledStore, options: Partial<MemoryTierOptions> = {}) {
  const failures: unknown[] = []
  const onFailure = (error: unknown) => failures.push(error)
  const tier = new MemoryTier({ store, accesses: store, onFailure, ...options })
  const close = async () => {
    store.gate?.open()
    await tier[Symbol.asyncDispose]()
  }
  return { tier, failures, [Symbol.asyncDispose]: close }
}

suite('A tag in memory', () => {
  test('is there from the moment it is set until it is deleted', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    store.gate = new Gate()
    assert.equal(memory.tier.peekTag(repository, 'latest'), undefined)
    await memory.tier.setTag(repository, 'latest', record(1))
    assert.deepEqual(memory.tier.peekTag(repository, 'latest'), record(1))
    await memory.tier.setTag(repository, 'latest', record(0))
    assert.deepEqual(memory.tier.peekTag(repository, 'latest'), record(1))
    await memory.tier.deleteTag(repository, 'latest')
    assert.equal(memory.tier.peekTag(repository, 'latest'), undefined)
    store.gate.open()
  })

  test('comes from the store, which every read asks', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await store.inner.setTag(repository, 'latest', record(1))
    assert.equal(memory.tier.peekTag(repository, 'latest'), undefined)
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(1))
    assert.deepEqual(memory.tier.peekTag(repository, 'latest'), record(1))
    await store.inner.setTag(repository, 'latest', record(2))
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(2))
    assert.deepEqual(memory.tier.peekTag(repository, 'latest'), record(2))
    assert.deepEqual(store.calls, ['tag', 'tag'])
  })

  test('goes when another mirror has deleted the tag', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.tier.setTag(repository, 'latest', record(1))
    await memory.tier.tag(repository, 'latest')
    await store.inner.deleteTag(repository, 'latest')
    assert.equal(await memory.tier.tag(repository, 'latest'), undefined)
    assert.equal(memory.tier.peekTag(repository, 'latest'), undefined)
  })

  test('answers while the store fails, and each failure is reported', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    store.failure = new Error('no disk')
    await memory.tier.setTag(repository, 'latest', record(5))
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(5))
    assert.deepEqual(memory.failures, [store.failure, store.failure])
    await assert.rejects(memory.tier.tag(repository, 'unknown'), store.failure)
    assert.equal(memory.failures.length, 2)
  })

  test('stays when its write failed and the store has an older record or none', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await store.inner.setTag(repository, 'older', record(1))
    store.failure = new Error('no disk')
    await memory.tier.setTag(repository, 'older', record(5))
    await memory.tier.setTag(repository, 'absent', record(5))
    store.failure = undefined
    assert.deepEqual(await memory.tier.tag(repository, 'older'), record(5))
    assert.deepEqual(await memory.tier.tag(repository, 'absent'), record(5))
    await store.inner.setTag(repository, 'absent', record(6))
    assert.deepEqual(await memory.tier.tag(repository, 'absent'), record(6))
  })

  test('is not put back by a read that started before the deletion', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await store.inner.setTag(repository, 'latest', record(1))
    const gate = new Gate()
    store.gate = gate
    const reading = memory.tier.tag(repository, 'latest')
    await gate.arrived()
    await memory.tier.deleteTag(repository, 'latest')
    gate.open()
    await reading
    assert.equal(memory.tier.peekTag(repository, 'latest'), undefined)
    assert.equal(await memory.tier.tag(repository, 'latest'), undefined)
  })

  test('is read from the store only after its write has ended', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    const gate = new Gate()
    store.gate = gate
    await memory.tier.setTag(repository, 'latest', record(1))
    await memory.tier.deleteTag(repository, 'latest')
    const reading = memory.tier.tag(repository, 'latest')
    await gate.arrived()
    assert.deepEqual(store.calls, ['setTag'])
    gate.open()
    assert.equal(await reading, undefined)
    assert.deepEqual(store.calls, ['setTag', 'deleteTag', 'tag'])
  })

  test('is one of a bounded number, in entries and in bytes', async () => {
    for (const tags of [
      { entries: 10, bytes: 1e9 },
      { entries: 1e6, bytes: 5000 },
    ]) {
      const store = new TroubledStore()
      await using memory = before(store, { tags })
      for (let n = 0; n < 100; n += 1) await memory.tier.setTag(repository, `t${n}`, record(n))
      const known = Array.from({ length: 100 }, (_, n) => n).filter((n) => memory.tier.peekTag(repository, `t${n}`))
      assert.ok(known.length >= 5 && known.length <= 15, `${known.length} are known`)
      assert.equal(known.at(-1), 99)
      assert.deepEqual(await memory.tier.tag(repository, 't0'), record(0))
    }
  })
})

suite('A link in memory', () => {
  test('is there from the moment it is added, and the store is not asked', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.tier.addLinks(repository, [link])
    assert.deepEqual(memory.tier.peekLink(repository, 'blob', one), link)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(store.calls, ['addLinks'])
  })

  test('comes from the store, which is asked once; an absent link is asked for again', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    assert.equal(await memory.tier.link(repository, 'blob', one), undefined)
    await store.inner.addLinks(repository, [link])
    assert.equal(memory.tier.peekLink(repository, 'blob', one), undefined)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(store.calls, ['link', 'link'])
  })

  test('does not hide what only the store knows', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await store.inner.addLinks(repository, [link])
    await memory.tier.addLinks(repository, [{ ...link, size: undefined, visibility: 'unproven' }])
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(memory.tier.peekLink(repository, 'blob', one), link)
  })

  test('is not made by restoring, but one that is there is completed', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    const incomplete: Link = { ...link, digest: two, size: undefined, visibility: 'unproven' }
    await memory.tier.addLinks(repository, [incomplete])
    store.gate = new Gate()
    await memory.tier.restoreLinks(repository, [link, { ...incomplete, size: 9, visibility: 'public' }])
    assert.equal(memory.tier.peekLink(repository, 'blob', one), undefined)
    assert.deepEqual(memory.tier.peekLink(repository, 'blob', two), { ...incomplete, size: 9, visibility: 'public' })
    const asked = memory.tier.link(repository, 'blob', one)
    store.gate.open()
    assert.deepEqual(await asked, link)
  })

  test('stays when the store can be neither written nor read', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    store.failure = new Error('no disk')
    const unproven: Link = { ...link, visibility: 'unproven' }
    await memory.tier.addLinks(repository, [unproven])
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), unproven)
    await assert.rejects(memory.tier.link(repository, 'blob', two), store.failure)
    store.failure = undefined
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), unproven)
    assert.equal(memory.failures.length, 2)
  })
})

suite('Forgetting', () => {
  const other = 'docker.io/library/alpine-x'

  async function filled(store: TroubledStore) {
    const memory = before(store)
    for (const each of [repository, other]) {
      await memory.tier.addLinks(each, [link, { ...link, kind: 'manifest' }, { ...link, digest: two }])
      await memory.tier.setTag(each, 'latest', record(1))
    }
    return memory
  }

  test('takes every link to a digest, and no other', async () => {
    const store = new TroubledStore()
    await using memory = await filled(store)
    await store.inner.index.deleteLinks(one)
    memory.tier.forgetLinks(one)
    for (const each of [repository, other]) {
      for (const kind of ['blob', 'manifest'] as const) {
        assert.equal(memory.tier.peekLink(each, kind, one), undefined)
        assert.equal(await memory.tier.link(each, kind, one), undefined)
      }
      assert.ok(memory.tier.peekLink(each, 'blob', two))
      assert.ok(memory.tier.peekTag(each, 'latest'))
    }
    await memory.tier.addLinks(repository, [link])
    assert.deepEqual(memory.tier.peekLink(repository, 'blob', one), link)
    memory.tier.forgetLinks(one)
    assert.equal(memory.tier.peekLink(repository, 'blob', one), undefined)
  })

  test('takes every link and tag of a repository, and of no other', async () => {
    const store = new TroubledStore()
    await using memory = await filled(store)
    await store.inner.index.deleteRepository(repository)
    memory.tier.forgetRepository(repository)
    assert.equal(memory.tier.peekTag(repository, 'latest'), undefined)
    assert.equal(await memory.tier.tag(repository, 'latest'), undefined)
    assert.equal(memory.tier.peekLink(repository, 'manifest', one), undefined)
    assert.equal(await memory.tier.link(repository, 'blob', two), undefined)
    assert.ok(memory.tier.peekTag(other, 'latest'))
    assert.ok(memory.tier.peekLink(other, 'blob', one))
  })

  test('lasts only until the next read of what the store still has', async () => {
    const store = new TroubledStore()
    await using memory = await filled(store)
    memory.tier.forgetLinks(one)
    memory.tier.forgetRepository(repository)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(1))
  })

  test('is not undone by a read that started before', async () => {
    const forgetting = [
      (tier: MemoryTier) => tier.forgetLinks(one),
      (tier: MemoryTier) => tier.forgetRepository(repository),
    ]
    for (const forget of forgetting) {
      const store = new TroubledStore()
      await using memory = before(store)
      await store.inner.addLinks(repository, [link])
      const gate = new Gate()
      store.gate = gate
      const reading = memory.tier.link(repository, 'blob', one)
      await gate.arrived()
      forget(memory.tier)
      gate.open()
      await reading
      assert.equal(memory.tier.peekLink(repository, 'blob', one), undefined)
    }
  })

  test('finds the links of a digest after others were evicted from memory', async () => {
    const store = new TroubledStore()
    await using memory = before(store, { links: { entries: 10, bytes: 1e9 } })
    for (let n = 0; n < 100; n += 1) await memory.tier.addLinks(`r${n}`, [{ ...link, digest: n % 2 ? one : two }])
    memory.tier.forgetLinks(one)
    const known = Array.from({ length: 100 }, (_, n) => n).filter((n) =>
      memory.tier.peekLink(`r${n}`, 'blob', n % 2 ? one : two),
    )
    assert.deepEqual(known, [90, 92, 94, 96, 98])
  })
})
