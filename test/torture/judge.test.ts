import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { bytesOf, synthetic } from '../support/bytes.ts'
import type { Ask, Expectation } from './ask.ts'
import type { TrueManifest, TrueTag } from './catalogue.ts'
import { History } from './history.ts'
import { type Circumstances, judge } from './judge.ts'
import type { Invariant } from './violation.ts'
import type { Seen, Visit } from './visit.ts'

const repository = 'team/app'
const body = Buffer.from('0123456789')
const blob: Expectation = {
  kind: 'blob',
  repository,
  digest: digestOf(body),
  bytes: bytesOf(body),
  from: 0,
  to: body.length,
}
const tail: Expectation = { ...blob, from: 4 }
const middle: Expectation = { ...blob, from: 4, to: 6 }
const huge: Expectation = { ...blob, bytes: synthetic(64 * 2 ** 20, 1), to: 64 * 2 ** 20 }
const [old, current] = ['old', 'current'].map((text): TrueManifest => {
  const bytes = Buffer.from(text)
  return { repository, digest: digestOf(bytes), body: bytes, parts: [] }
}) as [TrueManifest, TrueManifest]
const tag: TrueTag = { repository, tag: 'v1', versions: [old, current], fragile: false, still: false }
const tagged: Expectation = { kind: 'tag', tag }
const manifest: Expectation = { kind: 'manifest', manifest: current }
const foreign: Expectation = { kind: 'nothing', repository: 'team/other', reference: digestOf(body) }

const hit = { 'cache-status': 'entrepot; hit' }
const stale = { 'cache-status': 'entrepot; hit; ttl=-30; detail=stale' }
const miss = { 'cache-status': 'entrepot; fwd=uri-miss; stored' }
const passed = { 'cache-status': 'entrepot; fwd=bypass' }

/** An answer with this body, whole unless told otherwise. */
function answer(content: Buffer, seen: Partial<Seen> = {}): Partial<Seen> {
  const digest = digestOf(content)
  return { body: content, bytes: content.length, digest, headers: { ...hit, 'docker-content-digest': digest }, ...seen }
}

const failed = (status: number, seen: Partial<Seen> = {}) => answer(Buffer.alloc(0), { status, headers: {}, ...seen })
const cut = answer(body.subarray(0, 3), { complete: false, error: 'cut' })
const partial = (content: Buffer, seen: Partial<Seen> = {}): Partial<Seen> => ({
  ...answer(content, seen),
  status: 206,
  headers: { ...hit, 'content-range': `bytes 4-9/10`, ...seen.headers },
})

/** Minutes ago the tag moved on; the upstream has been well for as long. */
class LongAgo extends History {
  override get calmFor(): number {
    return 10 * 60_000
  }

  override lastPointed(name: string, digest: string): number | undefined {
    if (name !== `${repository}:v1`) return undefined
    if (digest === old.digest) return performance.now() - 120_000
    return digest === current.digest ? Number.POSITIVE_INFINITY : undefined
  }
}

interface Case {
  readonly expectation: Expectation
  readonly seen: Partial<Seen>
  readonly visit?: Partial<Visit>
  readonly around?: Partial<Circumstances>
  readonly before?: (history: History) => void
}

function judged({ expectation, seen, visit, around, before }: Case): Invariant[] {
  const now = performance.now()
  const history = new LongAgo()
  before?.(history)
  const ask: Ask = {
    habit: 'test',
    visit: { method: 'GET', path: '/v2/', headers: {}, agent: undefined, ...visit },
    expectation,
  }
  const whole: Seen = {
    status: 200,
    headers: hit,
    bytes: 0,
    digest: '',
    body: Buffer.alloc(0),
    complete: true,
    wrong: undefined,
    left: false,
    overdue: undefined,
    startedAt: now - 100,
    endedAt: now,
    error: undefined,
    ...seen,
  }
  const circumstances: Circumstances = {
    history,
    excused: () => 0,
    hadGap: () => false,
    diskWasFull: false,
    ...around,
  }
  return judge(ask, whole, circumstances).map(({ invariant }) => invariant)
}

const head = { method: 'HEAD' } as const
const wrong = answer(Buffer.from('0123456780'), { wrong: { from: 0, to: 10 } })
const aged = (status: Record<string, string>): Partial<Seen> =>
  answer(current.body, { headers: { ...status, age: '30', 'docker-content-digest': current.digest } })
const length = (told: number): Partial<Seen> => ({
  headers: { ...hit, 'content-length': String(told) },
})
const lied = (history: History) => history.lied(repository, digestOf(body), 'shorter')
const stalled = { pauseFor: 25_000 }

/** By what they violate; `fine` is as near to it as can be, and violates nothing. */
const cases: readonly (readonly [Invariant, string, Case, fine: Case])[] = [
  [
    'late-head',
    'no head within the limit',
    { expectation: blob, seen: failed(0, { complete: false, overdue: 'head', error: 'overdue' }) },
    { expectation: blob, seen: answer(body) },
  ],
  [
    'late-body',
    'no byte within the limit',
    { expectation: blob, seen: { ...cut, overdue: 'body' } },
    { expectation: blob, seen: { ...cut, left: true } },
  ],
  [
    'internal-error',
    'a 500, not a 503 while the upstream is not well',
    { expectation: blob, seen: failed(500), around: { diskWasFull: true } },
    { expectation: blob, seen: failed(503), around: { diskWasFull: true } },
  ],
  [
    'wrong-body',
    'a blob with a wrong byte, unless it was cut',
    { expectation: blob, seen: wrong },
    { expectation: blob, seen: { ...wrong, complete: false, error: 'cut' }, around: { hadGap: () => true } },
  ],
  [
    'wrong-body',
    'a blob whose file was damaged before it was asked for, not while it was sent',
    { expectation: blob, seen: wrong },
    { expectation: blob, seen: wrong, before: (history) => history.touch(digestOf(body)) },
  ],
  [
    'wrong-body',
    'a blob that ends too soon and says that it is whole',
    { expectation: blob, seen: answer(body.subarray(0, 9)) },
    { expectation: blob, seen: answer(body) },
  ],
  [
    'wrong-body',
    'a range to the end with wrong bytes, unless nobody can verify it',
    { expectation: tail, seen: partial(Buffer.from('456780'), { wrong: { from: 0, to: 6 } }) },
    { expectation: tail, seen: partial(Buffer.from('456780'), { wrong: { from: 0, to: 6 }, headers: passed }) },
  ],
  [
    'wrong-body',
    'another range than was asked for',
    { expectation: tail, seen: partial(body.subarray(4), { headers: { 'content-range': 'bytes 3-9/10' } }) },
    { expectation: tail, seen: partial(body.subarray(4)) },
  ],
  [
    'wrong-body',
    'a wrong size of the whole, unless the upstream told it and nobody can verify it',
    { expectation: middle, seen: partial(body.subarray(4, 6), { headers: { 'content-range': 'bytes 4-5/99' } }) },
    {
      expectation: middle,
      seen: partial(body.subarray(4, 6), { headers: { ...miss, 'content-range': 'bytes 4-5/99' } }),
      before: (history) => history.lied('', digestOf(body), 'longer'),
    },
  ],
  [
    'wrong-body',
    'a manifest that is another',
    { expectation: manifest, seen: answer(old.body) },
    { expectation: manifest, seen: answer(current.body) },
  ],
  [
    'head-length',
    'a length that is wrong, not one that the upstream told',
    { expectation: blob, visit: head, seen: length(9) },
    { expectation: blob, visit: head, seen: length(9), before: lied },
  ],
  [
    'head-length',
    'no length',
    { expectation: blob, visit: head, seen: {} },
    { expectation: blob, visit: head, seen: length(10) },
  ],
  [
    'wrong-tag',
    'what a tag never was',
    { expectation: tagged, seen: answer(body) },
    { expectation: tagged, seen: answer(current.body) },
  ],
  [
    'wrong-tag',
    'a tag under the digest of another',
    { expectation: tagged, seen: answer(current.body, { headers: { ...hit, 'docker-content-digest': old.digest } }) },
    { expectation: tagged, seen: answer(current.body) },
  ],
  [
    'old-tag',
    'what a tag was two minutes ago, unless it is marked stale',
    { expectation: tagged, seen: answer(old.body) },
    {
      expectation: tagged,
      seen: answer(old.body, { headers: { ...stale, 'docker-content-digest': old.digest } }),
    },
  ],
  [
    'old-tag',
    'what was checked long ago by its own Age, unless it is marked stale',
    { expectation: tagged, seen: aged(hit) },
    { expectation: tagged, seen: aged(stale) },
  ],
  [
    'old-tag',
    'the same to a HEAD, unless the mirror was stopped meanwhile',
    { expectation: tagged, visit: head, seen: { headers: { ...hit, 'docker-content-digest': old.digest } } },
    {
      expectation: tagged,
      visit: head,
      seen: { headers: { ...hit, 'docker-content-digest': old.digest } },
      around: { excused: () => 120_000 },
    },
  ],
  [
    'false-absence',
    'a 404 that no registry gave',
    { expectation: blob, seen: failed(404), before: (history) => history.lied(repository, digestOf(body), 'page-404') },
    { expectation: blob, seen: failed(404), before: (history) => history.lied(repository, digestOf(body), 'json-404') },
  ],
  [
    'false-absence',
    'a 404 that no registry gave',
    { expectation: blob, seen: failed(404), before: (history) => history.lied(repository, digestOf(body), 'page-404') },
    { expectation: blob, seen: failed(404), before: (history) => history.lied(repository, digestOf(body), 'denied') },
  ],
  [
    'no-right',
    'bytes through a repository that does not hold them',
    { expectation: foreign, seen: answer(body) },
    { expectation: foreign, seen: failed(404) },
  ],
  [
    'kept-waiting',
    'all of a large blob to who took nothing for long, unless it was cut',
    { expectation: huge, visit: stalled, seen: { bytes: 64 * 2 ** 20 } },
    { expectation: huge, visit: stalled, seen: { bytes: 2 ** 20, complete: false, error: 'cut' } },
  ],
  [
    'not-served',
    'a 503 though the upstream is well, unless it was not a moment ago',
    { expectation: manifest, seen: failed(503) },
    { expectation: manifest, seen: failed(503), before: (history) => stormy(history) },
  ],
  [
    'not-served',
    'a body that breaks off, unless the mirror was killed',
    { expectation: blob, seen: cut },
    { expectation: blob, seen: cut, around: { hadGap: () => true } },
  ],
  [
    'not-served',
    'no answer to a ping',
    { expectation: { kind: 'ping' }, seen: failed(503) },
    { expectation: { kind: 'ping' }, seen: answer(Buffer.from('{}')) },
  ],
]

function stormy(history: History): void {
  Object.defineProperty(history, 'calmFor', { value: 1000 })
}

describe('the judge', () => {
  for (const [invariant, what, violating, fine] of cases) {
    it(`finds ${invariant}: ${what}`, () => {
      assert.deepEqual(judged(violating), [invariant])
      assert.deepEqual(judged(fine), [])
    })
  }

  it('knows the times of a tag', () => {
    const history = new History()
    history.pointTag('a:v1', 'sha256:1')
    history.pointTag('a:v1', 'sha256:2')
    assert.equal(history.lastPointed('a:v1', 'sha256:2'), Number.POSITIVE_INFINITY)
    assert.ok((history.lastPointed('a:v1', 'sha256:1') ?? Number.POSITIVE_INFINITY) <= performance.now())
    assert.equal(history.lastPointed('a:v1', 'sha256:3'), undefined)
  })
})
