import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { walk } from '../../../src/cache/upkeep/graph-reader.ts'
import { listWhile, pagesOf } from '../../../src/cache/upkeep/pages.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'

/** A listing of the numbers below `count`, and how often it was asked. */
function numbers(count: number) {
  const listing = {
    asked: 0,
    async list(after: number | undefined, limit: number): Promise<readonly number[]> {
      listing.asked += 1
      const first = after === undefined ? 0 : after + 1
      return Array.from({ length: Math.max(0, Math.min(limit, count - first)) }, (_, at) => first + at)
    },
  }
  return listing
}

describe('pages of a listing', () => {
  for (const count of [0, 1, 199, 200, 201, 1000]) {
    it(`have each of ${count} items once, in order`, async () => {
      const { list } = numbers(count)
      const items: number[] = []
      for await (const page of pagesOf(list)) items.push(...page)
      assert.deepEqual(
        items,
        Array.from({ length: count }, (_, at) => at),
      )
    })
  }

  it('are listed only as far as they are read', async () => {
    const listing = numbers(1000)
    for await (const page of pagesOf(listing.list)) if (page.length > 0) break
    assert.equal(listing.asked, 1)
  })

  it('let other work run in between', async () => {
    let turns = 0
    const other = setImmediate(() => {
      turns += 1
    })
    for await (const page of pagesOf(numbers(300).list)) assert.ok(page.length > 0)
    clearImmediate(other)
    assert.equal(turns, 1)
  })

  it('are collected until the first item that does not match', async () => {
    const listing = numbers(1000)
    assert.deepEqual((await listWhile(listing.list, (item) => item < 250)).length, 250)
    assert.equal(listing.asked, 2)
    assert.deepEqual(await listWhile(listing.list, (item) => item < 2 || item > 500), [0, 1])
  })
})

describe('a walk', () => {
  it('reaches every digest once, in circles as well, and begins at its start', async () => {
    const [a, b, c, lone] = ['a', 'b', 'c', 'lone'].map((text) => digestOf(Buffer.from(text)))
    assert.ok(a && b && c && lone)
    const edges = new Map<Digest, Digest[]>([
      [a, [b, c]],
      [b, [c, a]],
      [c, [c]],
      [lone, [a]],
    ])
    const reached: Digest[] = []
    for await (const digest of walk(a, async (from) => edges.get(from) ?? [])) reached.push(digest)
    assert.deepEqual(reached, [a, b, c])
  })
})
