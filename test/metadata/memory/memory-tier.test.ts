import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MemoryTier, type MemoryTierOptions } from '../../../src/metadata/memory/memory-tier.ts'
import type { Link, TagRecord } from '../../../src/metadata/metadata-store.ts'
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { metadataStoreConformance } from '../../conformance/metadata-store.ts'
import { Gate } from '../../support/gate.ts'
import { until } from '../../support/wait.ts'
import { TroubledStore } from '../troubled-store.ts'

const noFailure = (error: unknown) => assert.fail(`failed: ${error}`)

metadataStoreConformance('Memory before SQLite', async () => {
  return new MemoryTier(SqliteStore.open(':memory:'), { onFailure: noFailure })
})

metadataStoreConformance('A memory too small for anything, before SQLite,', async () => {
  const nothing = { entries: 1, bytes: 1 }
  return new MemoryTier(SqliteStore.open(':memory:'), { onFailure: noFailure, tags: nothing, links: nothing })
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
  // An hour: where a test wants a batch written, it says so.
  const uses = { interval: 3_600_000 }
  const tier = new MemoryTier(store, { onFailure: (error) => failures.push(error), uses, ...options })
  const close = async () => {
    store.gate?.open()
    await tier[Symbol.asyncDispose]()
  }
  return { tier, failures, [Symbol.asyncDispose]: close }
}

suite('What this process knows of tags', () => {
  test('is there without asking, as soon as it was set and until it is deleted', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    store.gate = new Gate()
    assert.equal(memory.tier.recentTag(repository, 'latest'), undefined)
    await memory.tier.setTag(repository, 'latest', record(1))
    assert.deepEqual(memory.tier.recentTag(repository, 'latest'), record(1))
    await memory.tier.setTag(repository, 'latest', record(0))
    assert.deepEqual(memory.tier.recentTag(repository, 'latest'), record(1))
    await memory.tier.deleteTag(repository, 'latest')
    assert.equal(memory.tier.recentTag(repository, 'latest'), undefined)
    store.gate.open()
  })

  test('is learnt by asking, and every ask reaches the store', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await store.inner.setTag(repository, 'latest', record(1))
    assert.equal(memory.tier.recentTag(repository, 'latest'), undefined)
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(1))
    assert.deepEqual(memory.tier.recentTag(repository, 'latest'), record(1))
    await store.inner.setTag(repository, 'latest', record(2))
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(2))
    assert.deepEqual(memory.tier.recentTag(repository, 'latest'), record(2))
    assert.deepEqual(store.calls, ['tag', 'tag'])
  })

  test('goes when another replica has deleted the tag', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.tier.setTag(repository, 'latest', record(1))
    await memory.tier.tag(repository, 'latest')
    await store.inner.deleteTag(repository, 'latest')
    assert.equal(await memory.tier.tag(repository, 'latest'), undefined)
    assert.equal(memory.tier.recentTag(repository, 'latest'), undefined)
  })

  test('answers while the store fails, the failures being reported', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    store.failure = new Error('no disk')
    await memory.tier.setTag(repository, 'latest', record(5))
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(5))
    assert.deepEqual(memory.failures, [store.failure, store.failure])
    await assert.rejects(memory.tier.tag(repository, 'unknown'), store.failure)
    assert.equal(memory.failures.length, 2)
  })

  test('is not given up for what the store holds after a failed write', async () => {
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

  test('is not brought back by a read that began before the tag was deleted', async () => {
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
    assert.equal(memory.tier.recentTag(repository, 'latest'), undefined)
    assert.equal(await memory.tier.tag(repository, 'latest'), undefined)
  })

  test('is read back only after its own write has come through', async () => {
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

  test('is bounded in entries and in bytes', async () => {
    for (const tags of [
      { entries: 10, bytes: 1e9 },
      { entries: 1e6, bytes: 5000 },
    ]) {
      const store = new TroubledStore()
      await using memory = before(store, { tags })
      for (let n = 0; n < 100; n += 1) await memory.tier.setTag(repository, `t${n}`, record(n))
      const known = Array.from({ length: 100 }, (_, n) => n).filter((n) => memory.tier.recentTag(repository, `t${n}`))
      assert.ok(known.length >= 5 && known.length <= 15, `${known.length} are known`)
      assert.equal(known.at(-1), 99)
      assert.deepEqual(await memory.tier.tag(repository, 't0'), record(0))
    }
  })
})

suite('What this process knows of links', () => {
  test('is there without asking as soon as it was added, and spares the store', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.tier.addLinks(repository, [link])
    assert.deepEqual(memory.tier.recentLink(repository, 'blob', one), link)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(store.calls, ['addLinks'])
  })

  test('is learnt by asking once; absence is asked for again', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    assert.equal(await memory.tier.link(repository, 'blob', one), undefined)
    await store.inner.addLinks(repository, [link])
    assert.equal(memory.tier.recentLink(repository, 'blob', one), undefined)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(store.calls, ['link', 'link'])
  })

  test('does not hide what only the store still knows', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await store.inner.addLinks(repository, [link])
    await memory.tier.addLinks(repository, [{ ...link, size: undefined, visibility: 'unproven' }])
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(memory.tier.recentLink(repository, 'blob', one), link)
  })

  test('takes up no memory where it is only restored, but what is known is known better', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    const incomplete: Link = { ...link, digest: two, size: undefined, visibility: 'unproven' }
    await memory.tier.addLinks(repository, [incomplete])
    store.gate = new Gate()
    await memory.tier.restoreLinks(repository, [link, { ...incomplete, size: 9, visibility: 'public' }])
    assert.equal(memory.tier.recentLink(repository, 'blob', one), undefined)
    assert.deepEqual(memory.tier.recentLink(repository, 'blob', two), { ...incomplete, size: 9, visibility: 'public' })
    const asked = memory.tier.link(repository, 'blob', one)
    store.gate.open()
    assert.deepEqual(await asked, link)
  })

  test('stays when the store cannot be written or asked', async () => {
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

suite('What this process is told to forget', () => {
  const other = 'docker.io/library/alpine-x'

  async function filled(store: TroubledStore) {
    const memory = before(store)
    for (const each of [repository, other]) {
      await memory.tier.addLinks(each, [link, { ...link, kind: 'manifest' }, { ...link, digest: two }])
      await memory.tier.setTag(each, 'latest', record(1))
    }
    return memory
  }

  test('is every link to a digest, and no other', async () => {
    const store = new TroubledStore()
    await using memory = await filled(store)
    await store.inner.index.deleteLinks(one)
    memory.tier.forgetLinks(one)
    for (const each of [repository, other]) {
      for (const kind of ['blob', 'manifest'] as const) {
        assert.equal(memory.tier.recentLink(each, kind, one), undefined)
        assert.equal(await memory.tier.link(each, kind, one), undefined)
      }
      assert.ok(memory.tier.recentLink(each, 'blob', two))
      assert.ok(memory.tier.recentTag(each, 'latest'))
    }
    await memory.tier.addLinks(repository, [link])
    assert.deepEqual(memory.tier.recentLink(repository, 'blob', one), link)
    memory.tier.forgetLinks(one)
    assert.equal(memory.tier.recentLink(repository, 'blob', one), undefined)
  })

  test('is every link and tag of a repository, and of no other', async () => {
    const store = new TroubledStore()
    await using memory = await filled(store)
    await store.inner.index.deleteRepository(repository)
    memory.tier.forgetRepository(repository)
    assert.equal(memory.tier.recentTag(repository, 'latest'), undefined)
    assert.equal(await memory.tier.tag(repository, 'latest'), undefined)
    assert.equal(memory.tier.recentLink(repository, 'manifest', one), undefined)
    assert.equal(await memory.tier.link(repository, 'blob', two), undefined)
    assert.ok(memory.tier.recentTag(other, 'latest'))
    assert.ok(memory.tier.recentLink(other, 'blob', one))
  })

  test('is learnt again where the store behind still has it', async () => {
    const store = new TroubledStore()
    await using memory = await filled(store)
    memory.tier.forgetLinks(one)
    memory.tier.forgetRepository(repository)
    assert.deepEqual(await memory.tier.link(repository, 'blob', one), link)
    assert.deepEqual(await memory.tier.tag(repository, 'latest'), record(1))
  })

  test('is not brought back by a read that began before', async () => {
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
      assert.equal(memory.tier.recentLink(repository, 'blob', one), undefined)
    }
  })

  test('is found among what memory has kept, after it has let others go', async () => {
    const store = new TroubledStore()
    await using memory = before(store, { links: { entries: 10, bytes: 1e9 } })
    for (let n = 0; n < 100; n += 1) await memory.tier.addLinks(`r${n}`, [{ ...link, digest: n % 2 ? one : two }])
    memory.tier.forgetLinks(one)
    const known = Array.from({ length: 100 }, (_, n) => n).filter((n) =>
      memory.tier.recentLink(`r${n}`, 'blob', n % 2 ? one : two),
    )
    assert.deepEqual(known, [90, 92, 94, 96, 98])
  })
})

suite('Last uses on the way of every hit', () => {
  test('wait in memory, the newest of each digest, until somebody asks', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    for (let at = 0; at < 500; at += 1) memory.tier.recordUse(one, 10, at)
    memory.tier.recordUse(one, 10, 3)
    assert.deepEqual(store.calls, [])
    assert.deepEqual(await memory.tier.usage(), { blobs: 1, bytes: 10 })
    assert.deepEqual(await memory.tier.coldest(5), [{ digest: one, size: 10, at: 499 }])
    assert.deepEqual(store.calls, ['recordUses', 'usage', 'coldest'])
  })

  test('a blob used since is neither cold nor forgotten, though the store has not heard of it', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.tier.recordUses([
      { digest: one, size: 10, at: 1 },
      { digest: two, size: 10, at: 2 },
    ])
    store.failure = new Error('no disk')
    store.failing = 'recordUses'
    memory.tier.recordUse(one, 10, 3)
    assert.deepEqual(await memory.tier.coldest(2), [{ digest: two, size: 10, at: 2 }])
    assert.equal(await memory.tier.forgetUse(one, 1), false)
    assert.deepEqual(await memory.tier.usage(), { blobs: 2, bytes: 20 })
    store.failing = undefined
    await assert.rejects(memory.tier.usage(), store.failure)
    store.failure = undefined
    assert.deepEqual(await memory.tier.coldest(1), [{ digest: two, size: 10, at: 2 }])
  })

  test('a use that comes while the blob is being forgotten is told, and kept', async () => {
    const store = new TroubledStore()
    await using memory = before(store)
    await memory.tier.recordUses([{ digest: one, size: 10, at: 1 }])
    const gate = new Gate()
    store.gate = gate
    const forgetting = memory.tier.forgetUse(one, 1)
    await gate.arrived()
    memory.tier.recordUse(one, 10, 2)
    gate.open()
    assert.equal(await forgetting, false)
    assert.deepEqual(await memory.tier.usage(), { blobs: 1, bytes: 10 })
    assert.equal(await memory.tier.forgetUse(one, 2), true)
    assert.deepEqual(await memory.tier.usage(), { blobs: 0, bytes: 0 })
  })

  test('are written when the tier is closed', async () => {
    const store = new TroubledStore()
    const { tier } = before(store)
    tier.recordUse(one, 10, 1)
    await tier[Symbol.asyncDispose]()
    assert.deepEqual(store.calls, ['recordUses'])
  })
})

suite('A use of what is known to be recorded', () => {
  const use = (at: number, size = 10) => ({ digest: one, size, at })

  /** One use of `one` is recorded. */
  async function recorded(renewal: number) {
    const store = new TroubledStore()
    const memory = before(store, { uses: { interval: 5 }, renewal })
    memory.tier.recordUse(one, 10, 1)
    await until(async () => (await store.inner.coldest(1)).length === 1, 'the first use to be written')
    const stored = () => store.inner.coldest(2)
    /** When a use of something else, added now, has been written. */
    const later = async () => {
      memory.tier.recordUse(two, 10, 100)
      await until(async () => (await stored()).length === 2, 'the other use to be written')
    }
    return { ...memory, store, stored, later }
  }

  test('waits, and is written with all others when somebody looks at them', async () => {
    await using memory = await recorded(3_600_000)
    memory.tier.recordUse(one, 10, 2)
    await memory.later()
    assert.deepEqual(await memory.stored(), [use(1), { digest: two, size: 10, at: 100 }])
    assert.deepEqual(await memory.tier.coldest(1), [use(2)])
    memory.tier.recordUse(one, 10, 3)
    await memory.tier.usage()
    assert.deepEqual((await memory.stored())[0], use(3))
  })

  test('is written after its time', async () => {
    await using memory = await recorded(10)
    memory.tier.recordUse(one, 10, 2)
    await until(async () => (await memory.stored())[0]?.at === 2, 'the second use to be written')
    assert.deepEqual(memory.failures, [])
  })

  test('is written when the memory closes', async () => {
    const store = new TroubledStore()
    const tier = new MemoryTier(store, { onFailure: noFailure, uses: { interval: 5 }, renewal: 3_600_000 })
    tier.recordUse(one, 10, 1)
    await until(async () => (await store.inner.coldest(1)).length === 1, 'the first use to be written')
    tier.recordUse(one, 10, 2)
    const before = store.calls.length
    await tier[Symbol.asyncDispose]()
    assert.deepEqual(store.calls.slice(before), ['recordUses'])
  })

  test('does not wait where it tells of another size, nor after it was forgotten', async () => {
    await using memory = await recorded(3_600_000)
    memory.tier.recordUse(one, 11, 2)
    await until(async () => (await memory.stored())[0]?.at === 2, 'the new size to be written')
    assert.deepEqual(await memory.stored(), [use(2, 11)])
    assert.equal(await memory.tier.forgetUse(one, 2), true)
    memory.tier.recordUse(one, 11, 3)
    await until(async () => (await memory.stored()).length === 1, 'the use to be written again')
    assert.deepEqual(await memory.stored(), [use(3, 11)])
  })

  test('keeps it from being forgotten, or from being among the coldest, while it waits', async () => {
    await using memory = await recorded(3_600_000)
    memory.store.failure = new Error('no')
    memory.store.failing = 'recordUses'
    memory.tier.recordUse(one, 10, 2)
    assert.equal(await memory.tier.forgetUse(one, 1), false)
    assert.deepEqual(await memory.tier.coldest(1), [])
    // Later than what waits for its time, and written with it.
    memory.tier.recordUse(one, 12, 3)
    assert.equal(await memory.tier.forgetUse(one, 2), false)
    memory.store.failure = undefined
    assert.equal(await memory.tier.forgetUse(one, 3), true)
    assert.deepEqual(await memory.stored(), [])
  })

  test('is the earlier one where another tells of another size; and goes with what is forgotten', async () => {
    await using memory = await recorded(3_600_000)
    memory.store.failure = new Error('no')
    memory.store.failing = 'recordUses'
    memory.tier.recordUse(one, 10, 1)
    assert.equal(await memory.tier.forgetUse(one, 1), true)
    memory.store.failure = undefined
    assert.deepEqual(await memory.tier.coldest(1), [])
    memory.tier.recordUse(one, 10, 1)
    await memory.tier.usage()
    memory.store.failure = new Error('no')
    memory.tier.recordUse(one, 10, 1)
    memory.tier.recordUse(one, 12, 3)
    assert.deepEqual(await memory.tier.coldest(1), [])
    memory.store.failure = undefined
    assert.deepEqual(await memory.tier.coldest(1), [use(3, 12)])
  })

  test('brings back what was forgotten meanwhile', async () => {
    await using memory = await recorded(3_600_000)
    memory.store.gate = new Gate()
    const forgetting = memory.tier.forgetUse(one, 1)
    await memory.store.gate.arrived()
    memory.tier.recordUse(one, 10, 2)
    memory.store.gate.open()
    assert.equal(await forgetting, false)
    assert.deepEqual(await memory.tier.coldest(1), [use(2)])
  })
})
