import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Dispatcher } from 'undici'
import { Transfer } from '../../../src/upstream/transfer/transfer.ts'
import { randomBlob } from '../../support/image.ts'
import { tempDir } from '../../support/temp.ts'

const content = randomBlob(300_000)

/** A request whose other ends are the test: undici, by `controller`, and the event loop, by `answers`. */
function transferOf() {
  const answers: Parameters<ConstructorParameters<typeof Transfer>[0]>[0][] = []
  const calls: string[] = []
  const controller = {
    pause: () => void calls.push('pause'),
    resume: () => void calls.push('resume'),
    abort: () => void calls.push('abort'),
  } as unknown as Dispatcher.DispatchController
  const transfer = new Transfer((answer) => void answers.push(answer))
  const kinds = (): string[] => answers.map((answer) => (answer.kind === 'end' ? answer.reason : answer.kind))
  const written = (): number => answers.reduce((sum, answer) => sum + (answer.kind === 'written' ? answer.bytes : 0), 0)
  return { transfer, controller, calls, kinds, written }
}

describe('Transfer', () => {
  it('pauses at the head, writes what flows, and tells how much it was before it tells of the end', async () => {
    await using dir = await tempDir()
    const descriptor = openSync(join(dir.path, 'file'), 'w')
    const { transfer, controller, calls, kinds, written } = transferOf()
    transfer.onRequestStart(controller)
    transfer.onResponseStart(controller, 200, {})
    assert.deepEqual([kinds(), calls], [['head'], ['pause']])
    transfer.take({ kind: 'into', id: 1, descriptor, offset: 7, skip: 5, most: content.length - 5 })
    assert.deepEqual(calls, ['pause', 'resume'])
    for (let at = 0; at < content.length; at += 70_000) {
      transfer.onResponseData(controller, Buffer.from(content.subarray(at, at + 70_000)))
    }
    transfer.onResponseEnd()
    assert.deepEqual([kinds().at(-1), written()], ['whole', content.length - 5])
    assert.ok((await readFile(join(dir.path, 'file'))).subarray(7).equals(content.subarray(5)))
    closeSync(descriptor)
  })

  it('tells of few bytes with the next tick', async () => {
    await using dir = await tempDir()
    const descriptor = openSync(join(dir.path, 'file'), 'w')
    const { transfer, controller, written } = transferOf()
    transfer.onRequestStart(controller)
    transfer.onResponseStart(controller, 206, {})
    transfer.take({ kind: 'into', id: 1, descriptor, offset: 0, skip: 0, most: undefined })
    for (const bytes of [1, 1001]) {
      transfer.onResponseData(controller, Buffer.alloc(bytes))
      transfer.tick()
    }
    assert.equal(written(), 1002)
    closeSync(descriptor)
  })

  it('keeps what the system refuses', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    closeSync(openSync(path, 'w'))
    const readOnly = openSync(path, 'r')
    const { transfer, controller, calls, kinds, written } = transferOf()
    transfer.onRequestStart(controller)
    transfer.onResponseStart(controller, 200, {})
    transfer.take({ kind: 'into', id: 1, descriptor: readOnly, offset: 0, skip: 0, most: undefined })
    transfer.onResponseData(controller, Buffer.from(content))
    assert.deepEqual([kinds().at(-1), calls.at(-1)], ['refused', 'pause'])
    transfer.tick()
    assert.equal(kinds().at(-1), 'refused')
    transfer.take({ kind: 'retry', id: 1 })
    assert.equal(kinds().at(-1), 'refused')
    closeSync(readOnly)
    // The lowest number that is free is the one just closed.
    const descriptor = openSync(path, 'w')
    assert.equal(descriptor, readOnly)
    transfer.take({ kind: 'retry', id: 1 })
    assert.equal(calls.at(-1), 'resume')
    transfer.onResponseEnd()
    assert.deepEqual([kinds().at(-1), written()], ['whole', content.length])
    assert.ok((await readFile(path)).equals(content))
    closeSync(descriptor)
  })

  it('does not write beyond what is wanted', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    const descriptor = openSync(path, 'w')
    const { transfer, controller, calls, kinds } = transferOf()
    transfer.onRequestStart(controller)
    transfer.onResponseStart(controller, 200, {})
    transfer.take({ kind: 'into', id: 1, descriptor, offset: 0, skip: 0, most: 1000 })
    transfer.onResponseData(controller, Buffer.alloc(600))
    transfer.onResponseData(controller, Buffer.alloc(600))
    assert.deepEqual([kinds().at(-1), calls.at(-1)], ['too long', 'abort'])
    assert.ok((await readFile(path)).length <= 1000)
    closeSync(descriptor)
  })

  it('discards what is no blob, and breaks off what is long', () => {
    for (const [bytes, end] of [
      [16 * 1024, 'whole'],
      [16 * 1024 + 1, 'stopped'],
    ] as const) {
      const { transfer, controller, calls, kinds } = transferOf()
      transfer.onRequestStart(controller)
      transfer.onResponseStart(controller, 307, {})
      transfer.onResponseData(controller, Buffer.alloc(bytes))
      transfer.onResponseEnd()
      assert.deepEqual(kinds(), ['head', end])
      assert.deepEqual(calls, end === 'whole' ? [] : ['abort'])
    }
  })

  it('that is stopped while it connects sends nothing', () => {
    const { transfer, controller, calls, kinds } = transferOf()
    transfer.take({ kind: 'stop', id: 1 })
    transfer.onRequestStart(controller)
    assert.deepEqual([kinds(), calls], [['stopped'], ['abort']])
  })
})
