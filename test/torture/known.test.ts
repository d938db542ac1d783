import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { knownFaults, toleratedAs } from './known/all.ts'
import { Missing, World } from './known/world.ts'
import type { Violation } from './violation.ts'

/** Milliseconds that a play may take: far more than any needs. */
const longest = 60_000

// Most of a play is waiting.
describe('known faults', { concurrency: 3 }, () => {
  for (const { id, fault, observe, today, right } of knownFaults) {
    it(`known fault ${id}: ${fault}`, async (test) => {
      await using world = new World()
      const overdue = Promise.withResolvers<never>()
      const timer = setTimeout(() => overdue.reject(new Error('the play took too long')), longest)
      let seen: string
      try {
        seen = await Promise.race([observe(world), overdue.promise])
      } catch (error) {
        if (error instanceof Missing) return test.skip(error.message)
        throw error
      } finally {
        clearTimeout(timer)
      }
      test.diagnostic(`saw: ${seen}`)
      assert.notEqual(
        seen,
        right,
        `${id} is mended: take it out of the known faults and turn it into a regression test`,
      )
      assert.equal(seen, today, `${id} is neither as it was nor as it should be`)
    })
  }
})

describe('the list of known faults', () => {
  it('names each once, and tells what is wrong and what is right', () => {
    assert.equal(new Set(knownFaults.map(({ id }) => id)).size, knownFaults.length)
    for (const { id, fault, should, today, right } of knownFaults) {
      assert.match(id, /^[a-z0-9]+(-[a-z0-9]+)*$/)
      for (const sentence of [fault, should]) assert.match(sentence, /^[A-Z].*\.$/, id)
      assert.notEqual(today, right, id)
    }
  })

  it('tolerates by name, and nothing that it does not know', () => {
    const known: Violation = { invariant: 'pinned-gone', subject: '/v2/a/b', detail: 'status 503', at: 1 }
    assert.deepEqual(toleratedAs(known, new Set(['kill', 'lose-metadata'])), ['lost-metadata-loses-tags'])
    assert.deepEqual(toleratedAs(known, new Set(['kill'])), [])
    const damaged: Violation = {
      invariant: 'wrong-body',
      subject: 'a/b@sha256:12',
      detail: '9 bytes of 9, wrong between 4 and 8',
      at: 1,
    }
    assert.deepEqual(toleratedAs(damaged, new Set(['flip sha256:12 at 4'])), ['damaged-file-is-a-hit'])
    assert.deepEqual(toleratedAs(damaged, new Set(['flip sha256:12 at 8', 'flip sha256:13 at 4'])), [])
    assert.deepEqual(toleratedAs(damaged, new Set(['truncate sha256:12', 'kill'])), [])
  })

  it('stands in the README', async () => {
    const text = await readFile(new URL('known/README.md', import.meta.url), 'utf8')
    const rows = text.split('\n').filter((line) => line.startsWith('| `'))
    const cells = rows.map((row) => row.split('|').map((cell) => cell.trim()))
    assert.deepEqual(
      cells.map(([, id, fault, should]) => ({ id, fault, should })),
      knownFaults.map(({ id, fault, should }) => ({ id: `\`${id}\``, fault, should })),
    )
  })
})
