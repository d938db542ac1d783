import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { UseBatch, type UseBatchOptions } from '../../../src/metadata/memory/use-batch.ts'
import type { Use } from '../../../src/metadata/metadata-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { until } from '../../support/wait.ts'

const hour = 3_600_000

function use(n: number, at = n): Use {
  return { digest: digestOf(Buffer.from(`${n}`)), size: 1, at }
}

function batch(options: Partial<UseBatchOptions>) {
  const written: Use[][] = []
  const failures: unknown[] = []
  const trouble: { now: Error | undefined } = { now: undefined }
  const write = async (uses: readonly Use[]) => {
    if (trouble.now) throw trouble.now
    written.push([...uses])
  }
  const uses = new UseBatch({ write, onFailure: (error) => failures.push(error), interval: hour, ...options })
  return { uses, written, failures, trouble }
}

suite('A batch of uses', () => {
  test('is written after its interval', async () => {
    const { uses, written } = batch({ interval: 1 })
    uses.add(use(1))
    uses.add(use(2))
    // What runs for the batch keeps no process alive; this test does.
    await until(() => written.length === 1, 'the batch')
    assert.deepEqual(written, [[use(1), use(2)]])
  })

  test('is written when it is full, each time', async () => {
    const { uses, written } = batch({ size: 3 })
    for (const first of [0, 3]) {
      uses.add(use(first))
      uses.add(use(first + 1))
      uses.add(use(first + 1))
      assert.equal(written.length, first / 3)
      uses.add(use(first + 2))
      await until(() => written.length > first / 3, 'the full batch')
      assert.deepEqual(written.at(-1), [use(first), use(first + 1), use(first + 2)])
    }
    uses.add(use(6))
    await uses.close()
    assert.deepEqual(written.at(-1), [use(6)])
  })

  test('goes in parts, everything in one flush', async () => {
    const { uses, written } = batch({ part: 10 })
    for (let n = 0; n < 35; n += 1) uses.add(use(n))
    await uses.flush()
    assert.deepEqual(
      written.map((part) => part.length),
      [10, 10, 10, 5],
    )
  })

  test('that is refused is kept with its newest uses, and tried again by the clock alone', async () => {
    const { uses, written, failures, trouble } = batch({ size: 2 })
    trouble.now = new Error('no disk')
    uses.add(use(1, 10))
    uses.add(use(2, 10))
    await until(() => failures.length === 1, 'the refusal')
    uses.add(use(1, 20))
    uses.add(use(2, 5))
    uses.add(use(3, 10))
    uses.add(use(4, 10))
    assert.equal(uses.latest(use(1).digest), 20)
    assert.equal(uses.latest(use(2).digest), 10)
    assert.equal(failures.length, 1)
    trouble.now = undefined
    await uses.flush()
    assert.deepEqual(written.flat(), [use(1, 20), use(2, 10), use(3, 10), use(4, 10)])
    assert.equal(uses.latest(use(1).digest), undefined)
  })

  test('tries again after its interval', async () => {
    const { uses, written, failures, trouble } = batch({ interval: 1 })
    trouble.now = new Error('no disk')
    uses.add(use(1))
    await until(() => failures.length >= 3, 'three refusals')
    trouble.now = undefined
    await until(() => written.length === 1, 'the batch')
    assert.deepEqual(written, [[use(1)]])
  })

  test('keeps no more than its bound while it cannot be written', async () => {
    const { uses, written, trouble } = batch({ size: 2, most: 3 })
    trouble.now = new Error('no disk')
    for (let n = 0; n < 10; n += 1) uses.add(use(n))
    await uses.flush()
    trouble.now = undefined
    await uses.flush()
    assert.equal(written.flat().length, 3)
    assert.ok(written.flat().some(({ at }) => at === 9))
  })
})
