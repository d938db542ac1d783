import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Access, AccessLog } from '../../src/metadata/access-log.ts'
import type { ContentIndex } from '../../src/metadata/content-index.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'

/** A log, and the index that lists what it has recorded. */
export interface LoggedAccesses extends AsyncDisposable {
  readonly log: AccessLog
  readonly index: Pick<ContentIndex, 'leastRecentlyUsed'>
}

const one = digestOf(Buffer.from('one'))
const two = digestOf(Buffer.from('two'), 'sha512')
const three = digestOf(Buffer.from('three'))

function access(digest: Digest, size: number, at: number): Access {
  return { digest, size, at }
}

function manyAccesses(count: number): Access[] {
  return Array.from({ length: count }, (_, n) => access(digestOf(Buffer.from(`access ${n}`)), n, 1000 + n))
}

/** Tests for every `AccessLog`. `create` returns an empty one, which the suite closes. */
export function accessLogConformance(name: string, create: () => Promise<LoggedAccesses>): void {
  const check = (line: string, body: (logged: LoggedAccesses) => Promise<void>) =>
    test(line, async () => {
      await using logged = await create()
      await body(logged)
    })

  suite(`${name} logs accesses:`, () => {
    check('an empty log has no usage and lists nothing', async ({ log, index }) => {
      assert.deepEqual(await log.usage(), { blobs: 0, bytes: 0 })
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), [])
    })

    check('the least recently used come first, up to the limit', async ({ log, index }) => {
      const accesses = [access(one, 10, 300), access(two, 20, 100), access(three, 30, 200)]
      await log.recordAccesses(accesses)
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), [
        access(two, 20, 100),
        access(three, 30, 200),
        access(one, 10, 300),
      ])
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 2), [access(two, 20, 100), access(three, 30, 200)])
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 0), [])
    })

    check('the latest access of a digest is kept, in whatever order they are recorded', async ({ log, index }) => {
      await log.recordAccesses([access(one, 10, 500), access(two, 20, 400)])
      await log.recordAccesses([access(one, 10, 300)])
      await log.recordAccesses([access(two, 20, 600), access(two, 20, 450)])
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), [access(one, 10, 500), access(two, 20, 600)])
    })

    check('usage stays exact when accesses are added and forgotten and sizes change', async ({ log }) => {
      await log.recordAccesses([access(one, 10, 1), access(two, 20, 1), access(one, 10, 2)])
      assert.deepEqual(await log.usage(), { blobs: 2, bytes: 30 })
      await log.recordAccesses([access(one, 15, 3), access(three, 0, 3)])
      assert.deepEqual(await log.usage(), { blobs: 3, bytes: 35 })
      await log.recordAccesses([access(one, 99, 2)])
      assert.deepEqual(await log.usage(), { blobs: 3, bytes: 35 })
      await log.recordAccesses([access(one, 12, 3)])
      assert.deepEqual(await log.usage(), { blobs: 3, bytes: 32 })
      await log.forgetAccess(one, 3)
      await log.forgetAccess(two, 7)
      assert.deepEqual(await log.usage(), { blobs: 2, bytes: 20 })
      await log.recordAccesses([access(one, 1, 1)])
      assert.deepEqual(await log.usage(), { blobs: 3, bytes: 21 })
    })

    check('sizes beyond 32 bits are exact', async ({ log, index }) => {
      await log.recordAccesses([access(one, 2 ** 45, 1), access(two, 3, 1_700_000_000_001)])
      assert.deepEqual(await log.usage(), { blobs: 2, bytes: 2 ** 45 + 3 })
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 2), [
        access(one, 2 ** 45, 1),
        access(two, 3, 1_700_000_000_001),
      ])
    })

    check('an access is forgotten only if it is the last one', async ({ log, index }) => {
      await log.recordAccesses([access(one, 10, 100)])
      assert.equal(await log.forgetAccess(one, 99), false)
      assert.equal(await log.forgetAccess(one, 101), false)
      await log.recordAccesses([access(one, 10, 200)])
      assert.equal(await log.forgetAccess(one, 100), false)
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), [access(one, 10, 200)])
      assert.equal(await log.forgetAccess(one, 200), true)
      assert.equal(await log.forgetAccess(one, 200), false)
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), [])
    })

    check('of many concurrent calls that forget the same access, one succeeds', async ({ log }) => {
      await log.recordAccesses([access(one, 10, 100)])
      const answers = await Promise.all(Array.from({ length: 10 }, () => log.forgetAccess(one, 100)))
      assert.equal(answers.filter(Boolean).length, 1)
      assert.deepEqual(await log.usage(), { blobs: 0, bytes: 0 })
    })

    check('concurrent writers of the same accesses count each once', async ({ log, index }) => {
      const accesses = manyAccesses(300)
      await Promise.all(
        [accesses, accesses.toReversed(), accesses].flatMap((all) => all.map((each) => log.recordAccesses([each]))),
      )
      assert.deepEqual(await log.usage(), { blobs: 300, bytes: (299 * 300) / 2 })
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 1000), accesses)
    })

    check('one call takes thousands of accesses', async ({ log, index }) => {
      const accesses = manyAccesses(3000)
      await log.recordAccesses(accesses)
      assert.deepEqual(await log.usage(), { blobs: 3000, bytes: (2999 * 3000) / 2 })
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 3), accesses.slice(0, 3))
    })
  })
}
