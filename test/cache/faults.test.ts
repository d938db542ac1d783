import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Digest, digestOf, hexOf } from '../../src/oci/digest.ts'
import type { Behaviour } from '../support/behaviour.ts'
import type { Received } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { randomBlob } from '../support/image.ts'
import { House, repository } from './support/house.ts'

const size = 2 * 1024 * 1024 + 17

/**
 * What a client gets: `right`, and it notices nothing; `cut`, 200 and a body that breaks off; or an error before any
 * byte. Never a whole body that is wrong.
 */
type Fate = 'right' | 'cut' | 502 | 504

interface Case {
  readonly title: string
  /** In order of the upstream's GETs; the last one without `times` goes on for ever. */
  readonly faults: readonly Behaviour[]
  /** Where nobody has told the mirror the blob's size, and where a manifest has. */
  readonly unlinked: Fate
  readonly linked: Fate
  readonly timeouts?: Readonly<Record<string, string>>
}

const once = (behaviour: Behaviour): Behaviour => ({ ...behaviour, times: 1 })
const both = (fate: Fate) => ({ unlinked: fate, linked: fate })

const cases: readonly Case[] = [
  ...[0, size >> 1, size - 1].map((at) => ({
    title: `one byte is another, at ${at}`,
    faults: [{ flipByteAt: at }],
    ...both('cut'),
  })),
  ...(['fin', 'rst'] as const).flatMap((cut) =>
    [0, 1, 65_536, size >> 1, size - 1].map((cutAfter) => ({
      title: `cut by ${cut} after ${cutAfter} bytes, once`,
      faults: [once({ cutAfter, cut })],
      ...both('right'),
    })),
  ),
  ...(['fin', 'rst'] as const).map((cut) => ({
    title: `cut by ${cut} in the middle, and no byte more`,
    faults: [once({ cutAfter: size >> 1, cut }), { cutAfter: 0, cut }],
    ...both('cut'),
  })),
  { title: 'cut every 700,000 bytes', faults: [{ cutAfter: 700_000 }], ...both('right') },
  {
    title: 'a stall, once',
    faults: [once({ stallAfter: 1_500_000 })],
    ...both('right'),
    timeouts: { upstreamStall: '100ms' },
  },
  {
    title: 'a stall, and no byte more',
    faults: [once({ stallAfter: 1_500_000 }), { stallAfter: 0 }],
    ...both('cut'),
    timeouts: { upstreamStall: '100ms' },
  },
  { title: 'no headers', faults: [{ instead: 'silence' }], ...both(504), timeouts: { upstreamHeaders: '3s' } },
  {
    title: 'a short body that agrees with its length',
    faults: [{ truncateTo: 2_000_000 }],
    unlinked: 'cut',
    linked: 502,
  },
  { title: 'a long body that agrees with its length', faults: [{ extraBytes: 5 }], unlinked: 'cut', linked: 502 },
  { title: 'an empty body', faults: [{ truncateTo: 0 }], ...both(502) },
  { title: 'a Content-Length too large', faults: [{ contentLength: size + 5 }], unlinked: 'cut', linked: 502 },
  { title: 'a Content-Length too small', faults: [{ contentLength: size - 5 }], unlinked: 'cut', linked: 502 },
  { title: 'chunks without a length', faults: [{ chunked: true }], ...both('right') },
  { title: 'chunks, one byte another', faults: [{ chunked: true, flipByteAt: 9 }], ...both('cut') },
  { title: 'chunks that end early', faults: [{ chunked: true, truncateTo: 2_000_000 }], ...both('cut') },
  { title: 'chunks, and none at all', faults: [{ chunked: true, truncateTo: 0 }], ...both('cut') },
  { title: 'chunks that go on too long', faults: [{ chunked: true, extraBytes: 5 }], ...both('cut') },
  { title: 'chunks that break off, once', faults: [once({ chunked: true, cutAfter: 1_500_000 })], ...both('right') },
  { title: 'a body that ends with its connection', faults: [{ closeDelimited: true }], ...both('right') },
  {
    title: 'a body that ends with its connection, early',
    faults: [{ closeDelimited: true, truncateTo: 2_000_000 }],
    unlinked: 'cut',
    linked: 'cut',
  },
  {
    title: 'another range than asked for on the way on',
    faults: [once({ cutAfter: 1_500_000 }), { wrongContentRange: true }],
    ...both('cut'),
  },
  {
    title: 'the whole blob for a range near its start',
    faults: [once({ cutAfter: 500_000 }), { ignoreRange: true }],
    ...both('right'),
  },
  {
    title: 'the whole blob for a range far inside it',
    faults: [once({ cutAfter: 2_000_000 }), { ignoreRange: true }],
    ...both('cut'),
  },
  {
    title: 'one byte another on the way on',
    faults: [once({ cutAfter: 1_500_000 }), { flipByteAt: 99 }],
    ...both('cut'),
  },
  { title: 'a content encoding', faults: [{ contentEncoding: 'gzip-always' }], ...both(502) },
]

describe('an upstream that fails in mid-body', { concurrency: 8 }, () => {
  let shared: House
  before(async () => {
    shared = await House.open()
  })
  after(async () => {
    await shared.settled()
    await shared[Symbol.asyncDispose]()
  })

  for (const [index, { title, faults, timeouts, ...fates }] of cases.entries()) {
    for (const [side, knowledge] of (['unlinked', 'linked'] as const).entries()) {
      it(`${title}, ${knowledge}: ${fates[knowledge]}`, async () => {
        const body = randomBlob(size, 2 * index + side)
        const fate = fates[knowledge]
        if (timeouts === undefined) return await endure(shared, body, { faults, knowledge, fate })
        await using house = await House.open({ timeouts })
        return await endure(house, body, { faults, knowledge, fate })
      })
    }
  }
})

interface Ordeal {
  readonly faults: readonly Behaviour[]
  readonly knowledge: 'unlinked' | 'linked'
  readonly fate: Fate
}

async function endure(house: House, body: Buffer, { faults, knowledge, fate }: Ordeal): Promise<void> {
  const { upstream } = house
  const digest = upstream.addBlob(repository, body)
  if (knowledge === 'linked') await house.describe(digest, size)
  const gate = new Gate()
  const [first, ...others] = faults
  const handles = [{ ...first, gate }, ...others].map((behaviour) =>
    upstream.fault({ kind: 'blob', method: 'GET', reference: digest }, behaviour),
  )

  const pulls = [house.get(digest), house.get(digest)] as const
  await house.followed(pulls.length, digest)
  gate.open()
  const [one, other] = await Promise.all(pulls)
  check(one, digest, fate)
  check(other, digest, fate)
  await house.settled(digest)
  assert.equal((await house.stored()).includes(hexOf(digest)), fate === 'right')
  if (fate === 'cut') {
    const rest = await house.range(digest, `${one.bytes}-`)
    const joined = Buffer.concat([one.body ?? body, rest.body ?? body])
    assert.ok(rest.status !== 206 || !rest.complete || digestOf(joined) === digest, 'a wrong body was completed')
  }

  await house.settled(digest)
  for (const handle of handles) handle.remove()
  check(await house.get(digest), digest, 'right')
  await house.settled(digest)
  assert.ok((await house.stored()).includes(hexOf(digest)))
  check(await house.get(digest), digest, 'right')
  assert.deepEqual((await house.range(digest, '-5')).body, body.subarray(-5))
}

function check({ status, complete, digest, closedBy }: Received, expected: Digest, fate: Fate): void {
  if (fate === 'right') assert.deepEqual([status, complete, digest], [200, true, expected])
  else if (fate === 'cut') assert.deepEqual([status, complete, closedBy], [200, false, 'fin'])
  else assert.deepEqual([status, complete], [fate, true])
}
