import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Access } from '../../../src/metadata/access-log.ts'
import { AccessBatch, type AccessBatchOptions } from '../../../src/metadata/memory/access-batch.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { until } from '../../support/wait.ts'

const hour = 3_600_000

function access(n: number, at = n): Access {
  return { digest: digestOf(Buffer.from(`${n}`)), size: 1, at }
}

function batchOf(options: Partial<AccessBatchOptions>) {
  const written: Access[][] = []
  const failures: unknown[] = []
  const trouble: { now: Error | undefined } = { now: undefined }
  const write = async (accesses: readonly Access[]) => {
    if (trouble.now) throw trouble.now
    written.push([...accesses])
  }
  const batch = new AccessBatch({ write, onFailure: (error) => failures.push(error), delay: hour, ...options })
  return { batch, written, failures, trouble }
}

suite('A batch of accesses', () => {
  test('is written after its delay', async () => {
    const { batch, written } = batchOf({ delay: 1 })
    batch.add(access(1))
    batch.add(access(2))
    // The batch's timer does not keep the process alive; `until` does.
    await until(() => written.length === 1, 'the batch')
    assert.deepEqual(written, [[access(1), access(2)]])
  })

  test('is written each time it is full', async () => {
    const { batch, written } = batchOf({ fullSize: 3 })
    for (const first of [0, 3]) {
      batch.add(access(first))
      batch.add(access(first + 1))
      batch.add(access(first + 1))
      assert.equal(written.length, first / 3)
      batch.add(access(first + 2))
      await until(() => written.length > first / 3, 'the full batch')
      assert.deepEqual(written.at(-1), [access(first), access(first + 1), access(first + 2)])
    }
    batch.add(access(6))
    await batch.close()
    assert.deepEqual(written.at(-1), [access(6)])
  })

  test('is written in parts, all in one flush', async () => {
    const { batch, written } = batchOf({ maxWrite: 10 })
    for (let n = 0; n < 35; n += 1) batch.add(access(n))
    await batch.flush()
    assert.deepEqual(
      written.map((write) => write.length),
      [10, 10, 10, 5],
    )
  })

  test('that is refused is kept with its newest batch, and tried again by the clock alone', async () => {
    const { batch, written, failures, trouble } = batchOf({ fullSize: 2 })
    trouble.now = new Error('no disk')
    batch.add(access(1, 10))
    batch.add(access(2, 10))
    await until(() => failures.length === 1, 'the refusal')
    batch.add(access(1, 20))
    batch.add(access(2, 5))
    batch.add(access(3, 10))
    batch.add(access(4, 10))
    assert.equal(batch.latest(access(1).digest), 20)
    assert.equal(batch.latest(access(2).digest), 10)
    assert.equal(failures.length, 1)
    trouble.now = undefined
    await batch.flush()
    assert.deepEqual(written.flat(), [access(1, 20), access(2, 10), access(3, 10), access(4, 10)])
    assert.equal(batch.latest(access(1).digest), undefined)
  })

  test('is tried again after its delay', async () => {
    const { batch, written, failures, trouble } = batchOf({ delay: 1 })
    trouble.now = new Error('no disk')
    batch.add(access(1))
    await until(() => failures.length >= 3, 'three refusals')
    trouble.now = undefined
    await until(() => written.length === 1, 'the batch')
    assert.deepEqual(written, [[access(1)]])
  })

  test('keeps no more than its bound while it cannot be written', async () => {
    const { batch, written, trouble } = batchOf({ fullSize: 2, maxWaiting: 3 })
    trouble.now = new Error('no disk')
    for (let n = 0; n < 10; n += 1) batch.add(access(n))
    await batch.flush()
    trouble.now = undefined
    await batch.flush()
    assert.equal(written.flat().length, 3)
    assert.ok(written.flat().some(({ at }) => at === 9))
  })
})
