import assert from 'node:assert/strict'
import { appendFile, rm, truncate, writeFile } from 'node:fs/promises'
import { after, describe, it } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import type { BlobStore, OpenBlob } from '../../../src/storage/blob-store.ts'
import { IoThreads } from '../../../src/storage/io-threads.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { drain, type FillingOptions, filling, openFills } from '../support/filling.ts'
import type { Step } from '../support/registry.ts'

const body = randomBlob(100_000)
const digest = digestOf(body)
const threshold = 65_536
const all = { start: 0, end: body.length - 1 }

const ioThreads = new IoThreads()
after(() => ioThreads[Symbol.asyncDispose]())
const skip = ioThreads.pageCache ? false : 'the system does not say what is in memory'

type Filling = Awaited<ReturnType<typeof openFills>>

function open(steps: readonly Step[] = [body], options: FillingOptions = {}): Promise<Filling> {
  return openFills(digest, body.length, steps, { ioThreads, ...options })
}

async function fillNow(test: Filling): Promise<void> {
  const { fill, leave } = filling(await test.locate())
  assert.equal(await fill.ended, 'stored')
  leave()
}

async function look(test: Filling): Promise<void> {
  const located = await test.locate()
  assert.ok(located.kind === 'stored')
  await located.blob.close()
}

function cached(test: Filling): OpenBlob | undefined {
  return test.fills.tryCached(digest, threshold)
}

async function isCached(test: Filling): Promise<boolean> {
  const blob = cached(test)
  await blob?.close()
  return blob !== undefined
}

describe('what Fills opens without waiting', { skip }, () => {
  it('is whole, and what a fill has just stored', async () => {
    await using test = await open()
    assert.equal(cached(test), undefined)
    await fillNow(test)
    const blob = cached(test)
    assert.equal(blob?.size, body.length)
    assert.ok((await drain(blob.reader(all))).equals(body))
    assert.equal(await test.openFiles(), 0)
  })

  it('counts as read until it, or its reader, is closed', async () => {
    await using test = await open()
    await fillNow(test)
    assert.equal(test.fills.isRead(digest), false)
    const [one, other] = [cached(test), cached(test)]
    const reader = one?.reader(all)
    assert.ok(test.fills.isRead(digest))
    await reader?.read()
    await reader?.close()
    assert.ok(test.fills.isRead(digest))
    await other?.close()
    assert.equal(test.fills.isRead(digest), false)
  })

  it('is what was compared with its digest, where nobody has recorded a size', async () => {
    await using test = await open()
    await writeFile(test.file, body)
    assert.equal(cached(test), undefined)
    await look(test)
    assert.ok(await isCached(test))
    assert.equal(test.registry.asked.length, 0)
  })

  it('counts as read while somebody still gets what the fill has stored', async () => {
    await using test = await open()
    const { fill, leave } = filling(await test.locate())
    assert.equal(await fill.ended, 'stored')
    assert.ok(test.fills.isRead(digest))
    leave()
    leave()
    assert.equal(test.fills.isRead(digest), false)
  })

  it('is more than it is asked to be', async () => {
    await using test = await open()
    await fillNow(test)
    assert.equal(test.fills.tryCached(digest, body.length), undefined)
    assert.equal(test.fills.tryCached(digest, body.length + 1), undefined)
    await test.fills.tryCached(digest, body.length - 1)?.close()
    assert.equal(await test.openFiles(), 0)
    assert.equal(test.fills.isRead(digest), false)
  })

  it('is not what is looked for, nor what is being filled', async () => {
    const gate = new Gate()
    await using test = await open([gate, body])
    gate.open()
    await fillNow(test)
    const looking = look(test)
    assert.equal(cached(test), undefined)
    await looking
    assert.ok(await isCached(test))

    const second = new Gate()
    await using other = await open([body.subarray(0, 10), second, body.subarray(10)], {
      sizeOf: async () => body.length,
    })
    await writeFile(other.file, body)
    await look(other)
    await rm(other.file)
    const { fill, leave } = filling(await other.locate())
    await second.arrived()
    await writeFile(other.file, body)
    assert.equal(cached(other), undefined)
    second.open()
    assert.equal(await fill.ended, 'stored')
    leave()
    assert.ok(await isCached(other))
  })

  it('is not what others are kept from', async () => {
    await using test = await open()
    await fillNow(test)
    const gate = new Gate()
    const excluded = test.fills.exclude(digest, () => gate.pass())
    await gate.arrived()
    assert.equal(cached(test), undefined)
    gate.open()
    await excluded
    assert.ok(await isCached(test))
  })

  it('is not what is damaged, though the store does not let go of it, until it is overwritten', async () => {
    let holding: BlobStore | undefined
    const store = new Proxy({} as BlobStore, {
      get: (_target, name) => {
        if (name === 'delete') return () => Promise.reject(new Error('read-only file system'))
        const method: unknown = Reflect.get(holding ?? {}, name)
        return typeof method === 'function' ? method.bind(holding) : method
      },
    })
    await using test = await open([body], { store })
    holding = test.store
    await fillNow(test)
    await writeFile(test.file, Buffer.alloc(body.length, 1))
    assert.ok(await isCached(test))
    await test.fills.discard(digest)
    assert.equal(cached(test), undefined)
    await fillNow(test)
    const blob = cached(test)
    assert.ok((await drain(blob?.reader(all))).equals(body))
  })

  for (const [name, change] of Object.entries({
    'has been cut short': (file: string) => truncate(file, 90_000),
    'has been cut to what is small': (file: string) => truncate(file, 10),
    'has grown': (file: string) => appendFile(file, 'x'),
    'is gone': (file: string) => rm(file),
  })) {
    it(`is not what ${name}, and nothing of that stays open`, async () => {
      await using test = await open([body], { sizeOf: async () => body.length })
      await fillNow(test)
      await change(test.file)
      assert.equal(cached(test), undefined)
      assert.equal(test.fills.isRead(digest), false)
      await turn()
      assert.equal(await test.openFiles(), 0)
      await fillNow(test)
      assert.ok(await isCached(test))
      assert.equal(test.registry.asked.length, 2)
    })
  }
})

describe('the recorded size of a stored blob', () => {
  it('is asked for once, and not again where the file has another', async () => {
    let asked = 0
    await using test = await open([body], {
      sizeOf: async () => {
        asked += 1
        return body.length
      },
    })
    await writeFile(test.file, body)
    for (let count = 0; count < 3; count += 1) await look(test)
    assert.equal(asked, 1)
    await truncate(test.file, 90_000)
    await fillNow(test)
    await look(test)
    assert.equal(asked, 1)
  })

  it('is not asked for of what has just been filled', async () => {
    let asked = 0
    await using test = await open([body], {
      sizeOf: async () => {
        asked += 1
        return undefined
      },
    })
    await fillNow(test)
    await look(test)
    await isCached(test)
    assert.equal(asked, 0)
  })

  it('need not be there for damage to be seen in what was filled', async () => {
    await using test = await open()
    await fillNow(test)
    await truncate(test.file, 90_000)
    await fillNow(test)
  })
})

function turn(): Promise<void> {
  return new Promise(setImmediate)
}
