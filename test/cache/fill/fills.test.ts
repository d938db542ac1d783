import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { Located } from '../../../src/cache/fill/fills.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { RegistryError } from '../../../src/oci/error.ts'
import type { BlobStore } from '../../../src/storage/blob-store.ts'
import { FileStore } from '../../../src/storage/file-store.ts'
import { pathOf } from '../../../src/storage/layout.ts'
import { Spool, SpoolUnwritable } from '../../../src/storage/spool/spool.ts'
import { Gate } from '../../support/gate.ts'
import { tempDir } from '../../support/temp.ts'
import { until } from '../../support/wait.ts'
import { drain, type FillingOptions, filling, openFills } from '../support/filling.ts'
import type { Step } from '../support/registry.ts'

const body = Buffer.from('0123456789')
const digest = digestOf(body)
const all = { start: 0, end: undefined }

function open(steps: readonly Step[], options: FillingOptions = {}) {
  return openFills(digest, body.length, steps, options)
}

describe('Fills', () => {
  it('begins one fill for a hundred look-ups at once', async () => {
    await using test = await open([new Gate()])
    const located = await Promise.all(Array.from({ length: 100 }, () => test.locate()))
    assert.equal(new Set(located.map((one) => filling(one).fill)).size, 1)
    assert.equal(located.filter((one) => !filling(one).joined).length, 1)
    assert.equal(filling(located[0] as Located).fill.followers, 100)
  })

  it('has a fill or the blob for every look-up while a fill comes to its end', async () => {
    const gate = new Gate()
    await using test = await open([gate, body])
    const { fill, leave } = filling(await test.locate())
    leave()
    gate.open()
    let stored = 0
    while (stored < 20) {
      const located = await test.locate()
      if (located.kind === 'stored') {
        await located.blob.close()
        stored += 1
      } else {
        assert.equal(located.fill, fill)
        located.leave()
        await turn()
      }
    }
    assert.equal(test.registry.asked.length, 1)
  })

  it('answers all who look for a stored blob at once, each with its own', async () => {
    await using test = await open([body])
    const { fill, leave } = filling(await test.locate())
    leave()
    assert.equal(await fill.ended, 'stored')
    const located = await Promise.all(Array.from({ length: 20 }, () => test.locate()))
    for (const one of located) {
      assert.ok(one.kind === 'stored')
      assert.ok((await drain(one.blob.reader({ start: 0, end: 9 }))).equals(body))
    }
    assert.equal(test.registry.asked.length, 1)
  })

  it('goes on without a store that fails', async () => {
    const broken = new Error('input/output error')
    const failing: Partial<BlobStore> = {
      open: () => Promise.reject(broken),
      adopt: () => Promise.reject(broken),
    }
    await using test = await open([body], { store: failing as BlobStore })
    const { fill, leave } = filling(await test.locate())
    await fill.opened
    const reader = fill.follow(test.registry.origin, all)
    leave()
    assert.ok((await drain(reader)).equals(body))
    assert.equal(await fill.ended, 'unwritable')
    assert.deepEqual(test.storeFailures, [broken, broken])
    assert.deepEqual(await test.ingest(), [])
  })

  it('fills what is stored and damaged, though the store does not let go of it, until it is overwritten', async () => {
    const dir = await tempDir()
    const store = new FileStore(dir.path)
    const broken = new Error('read-only file system')
    const stubborn: Partial<BlobStore> = {
      open: (wanted) => store.open(wanted),
      adopt: (wanted, spool) => store.adopt(wanted, spool),
      delete: () => Promise.reject(broken),
    }
    await using test = await open([body], { store: stubborn as BlobStore })
    await mkdir(dirname(pathOf(dir.path, { kind: 'blob', digest })), { recursive: true })
    await writeFile(pathOf(dir.path, { kind: 'blob', digest }), 'XXXXXXXXXX')
    await test.fills.discard(digest)
    const { fill, leave } = filling(await test.locate())
    leave()
    assert.equal(await fill.ended, 'stored')
    const located = await test.locate()
    assert.ok(located.kind === 'stored')
    assert.ok((await drain(located.blob.reader({ start: 0, end: 9 }))).equals(body))
    await dir[Symbol.asyncDispose]()
  })

  it('counts a client once, however often it leaves', async () => {
    await using test = await open([new Gate()])
    const [one, other] = [filling(await test.locate()), filling(await test.locate())]
    one.leave()
    one.leave()
    assert.equal(one.fill.followers, 1)
    other.leave()
    assert.equal(one.fill.followers, 0)
  })

  it('gives up what nobody follows where none may run so, and fetches it anew for the next', async () => {
    const gate = new Gate()
    await using test = await open([gate, body], { unfollowed: 0 })
    const { fill, leave } = filling(await test.locate())
    await gate.arrived()
    leave()
    assert.equal(await fill.ended, 'abandoned')
    assert.equal(test.registry.released, 1)
    gate.open()
    const next = filling(await test.locate())
    assert.notEqual(next.fill, fill)
    await next.fill.opened
    const reader = next.fill.follow(test.registry.origin, all)
    next.leave()
    assert.ok((await drain(reader)).equals(body))
  })

  it('while it stops begins nothing, and leaves nothing behind', async () => {
    const gate = new Gate()
    await using test = await open([body.subarray(0, 5), gate, body.subarray(5)])
    const { fill } = filling(await test.locate())
    await fill.opened
    const reader = fill.follow(test.registry.origin, all)
    await gate.arrived()
    assert.equal((await reader?.read())?.length, 5)
    const rest = assert.rejects(async () => reader?.read(), RegistryError)
    await test.fills[Symbol.asyncDispose]()
    await rest
    await reader?.close()
    assert.deepEqual(await test.ingest(), [])
    assert.equal(test.ended[0]?.end, 'abandoned')
    await assert.rejects(
      test.locate(),
      (error: unknown) => error instanceof RegistryError && error.code === 'UNAVAILABLE',
    )
  })
})

describe('Fill', () => {
  it('is not followed after its end', async () => {
    await using test = await open([body])
    const { fill, leave } = filling(await test.locate())
    assert.equal(await fill.ended, 'stored')
    assert.equal(fill.follow(test.registry.origin, all), undefined)
    leave()
  })

  it('that fails with nobody there harms nobody', async () => {
    await using test = await open([new Error('upstream died')])
    const { fill, leave } = filling(await test.locate())
    leave()
    assert.equal(await fill.ended, 'failed')
    await using unwritable = await open([body], { createSpool: () => Promise.reject(new SpoolUnwritable('full')) })
    const other = filling(await unwritable.locate())
    other.leave()
    assert.equal(await other.fill.ended, 'unwritable')
    await assert.rejects(other.fill.opened, SpoolUnwritable)
    await turn()
  })

  it('asks the upstream while its spool is being made', async () => {
    await using dir = await tempDir()
    const making = Promise.withResolvers<Spool>()
    await using test = await open([body], { createSpool: () => making.promise })
    const { fill, leave } = filling(await test.locate())
    try {
      await until(() => test.registry.asked.length === 1, 'a question')
      assert.equal(fill.end, undefined)
    } finally {
      making.resolve(await Spool.create(join(dir.path, 'spool')))
    }
    assert.equal(await fill.ended, 'stored')
    leave()
  })

  it('lets go of the answer where its spool cannot be made', async () => {
    const making = Promise.withResolvers<Spool>()
    await using test = await open([body], { createSpool: () => making.promise })
    const { fill, leave } = filling(await test.locate())
    await until(() => test.registry.asked.length === 1, 'a question')
    making.reject(new SpoolUnwritable('full'))
    assert.equal(await fill.ended, 'unwritable')
    await until(() => test.registry.closed === 1, 'the answer to be let go of')
    leave()
  })

  it('is recorded as held by its source when it is done, and before where that takes long', async () => {
    for (const takesLong of [false, true]) {
      const gate = new Gate()
      const sizes: (number | undefined)[] = []
      await using test = await open([body.subarray(0, 4), gate, body.subarray(4)], {
        proven: (_origin, _digest, size) => sizes.push(size),
      })
      const { fill, leave } = filling(await test.locate())
      if (takesLong) await until(() => sizes.length === 1, 'a record')
      gate.open()
      assert.equal(await fill.ended, 'stored')
      leave()
      // Longer than what is long.
      await sleep(150)
      assert.deepEqual(sizes, takesLong ? [undefined, body.length] : [body.length])
    }
  })

  it('hands out all it has before it fails', async () => {
    const gate = new Gate()
    await using test = await open([body.subarray(0, 4), gate, new Error('upstream died')])
    const { fill, leave } = filling(await test.locate())
    await fill.opened
    const [early, late] = [fill.follow(test.registry.origin, all), fill.follow(test.registry.origin, all)]
    leave()
    await gate.arrived()
    assert.deepEqual(await early?.read(), body.subarray(0, 4))
    gate.open()
    await fill.ended
    await assert.rejects(async () => early?.read(), /upstream died/)
    assert.deepEqual(await late?.read(), body.subarray(0, 4))
    await assert.rejects(async () => late?.read(), /upstream died/)
    await early?.close()
    await late?.close()
  })
})
