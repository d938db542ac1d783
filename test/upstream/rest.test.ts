import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UpstreamError, type UpstreamErrorKind } from '../../src/oci/error.ts'
import { type HealthProbe, Rest } from '../../src/upstream/rest.ts'

const never = new AbortController().signal

function start() {
  const clock = { now: 1_000_000 }
  const rest = new Rest({ upstream: 'r', first: 5000, max: 60_000, maxRetryAfter: 3_600_000, now: () => clock.now })
  const fail = (kind: UpstreamErrorKind, retryAfter?: number) => {
    const error = new UpstreamError('r', kind, 'made to fail', retryAfter === undefined ? {} : { retryAfter })
    return assert.rejects(
      rest.run(never, () => Promise.reject(error)),
      error,
    )
  }
  const left = () => (rest.until === undefined ? 0 : (rest.until - clock.now) / 1000)
  return { clock, rest, fail, left }
}

async function held(rest: Rest, health?: (health: HealthProbe) => void) {
  const entered = Promise.withResolvers<void>()
  const end = Promise.withResolvers<string>()
  const result = rest.run(never, (own) => {
    health?.(own)
    entered.resolve()
    return end.promise
  })
  await entered.promise
  return { result, ...end }
}

test('each failure doubles the rest up to its maximum, and a success resets it', async () => {
  const { clock, rest, fail, left } = start()
  const rests: number[] = []
  for (const kind of ['unreachable', 'timeout', 'unavailable', 'unreachable', 'timeout', 'unreachable'] as const) {
    await fail(kind)
    rests.push(left())
    clock.now = rest.until ?? 0
  }
  assert.deepEqual(rests, [5, 10, 20, 40, 60, 60])
  assert.equal(rest.until, undefined)
  assert.equal(await rest.run(never, async () => 'fine'), 'fine')
  await fail('timeout')
  assert.equal(left(), 5)
})

test('Retry-After sets the length of the rest, up to its maximum', async () => {
  const { fail, left, clock } = start()
  await fail('unavailable', 90)
  assert.equal(left(), 90)
  clock.now += 90_000
  await fail('rate-limited', 999_999)
  assert.equal(left(), 3600)
})

test('a failure of one repository or login begins no rest', async () => {
  const { rest, fail } = start()
  await fail('denied')
  await fail('protocol')
  await assert.rejects(
    rest.run(never, () => Promise.reject(new TypeError('a bug'))),
    TypeError,
  )
  assert.equal(rest.until, undefined)
})

test('after a 429 every request is refused at once, and a late success does not end that', async () => {
  const { clock, rest, fail } = start()
  const early = await held(rest)
  await fail('rate-limited', 30)
  early.resolve('late')
  assert.equal(await early.result, 'late')
  clock.now += 10_500
  await assert.rejects(
    rest.run(never, async () => assert.fail('asked')),
    { name: 'UpstreamError', kind: 'rate-limited', retryAfter: 20 },
  )
  clock.now += 19_500
  assert.equal(await rest.run(never, async () => 'asked'), 'asked')
})

test('one trial at a time: its answer lets the others go on before its body has ended', async () => {
  const { rest, fail } = start()
  await fail('unreachable')
  let answered = () => {}
  const trial = await held(rest, (health) => {
    answered = health.answered
  })
  let running = 0
  const others = [1, 2, 3].map((value) =>
    rest.run(never, async () => {
      running += 1
      return value
    }),
  )
  await Promise.resolve()
  assert.equal(running, 0)
  answered()
  assert.deepEqual(await Promise.all(others), [1, 2, 3])
  assert.equal(rest.until, undefined)
  trial.resolve('done')
  assert.equal(await trial.result, 'done')
})

test('a trial that fails rejects the requests that wait for it, and prolongs the rest', async () => {
  const { rest, fail, left } = start()
  await fail('unreachable')
  const trial = await held(rest)
  const others = [1, 2].map(() => rest.run(never, async () => assert.fail('asked')))
  const refused = Promise.all(
    others.map((other) => assert.rejects(other, { kind: 'timeout', message: 'r: resting after a failure' })),
  )
  const failure = new UpstreamError('r', 'timeout', 'silent')
  trial.reject(failure)
  await assert.rejects(trial.result, failure)
  await refused
  assert.equal(left(), 10)
})

test('another request becomes the trial when the client of the trial leaves', async () => {
  const { rest, fail } = start()
  await fail('unreachable')
  const trial = await held(rest)
  const next = rest.run(never, async () => 'probed')
  trial.reject(new DOMException('left', 'AbortError'))
  await assert.rejects(trial.result, { name: 'AbortError' })
  assert.equal(await next, 'probed')
  assert.equal(rest.until, undefined)
})

test('a request that waits for a trial rejects when its signal is aborted', async () => {
  const { rest, fail } = start()
  await fail('unreachable')
  const trial = await held(rest)
  const leaver = new AbortController()
  const waiting = rest.run(leaver.signal, async () => assert.fail('asked'))
  const reason = new Error('no longer wanted')
  leaver.abort(reason)
  await assert.rejects(waiting, reason)
  trial.resolve('fine')
  await trial.result
})

test('several failures of one outage count as one', async () => {
  const { rest, left } = start()
  const asked = await Promise.all([held(rest), held(rest), held(rest)])
  for (const { reject } of asked) reject(new UpstreamError('r', 'unavailable', '503'))
  await Promise.allSettled(asked.map(({ result }) => result))
  assert.equal(left(), 5)
})

test('an overdue answer begins a rest, and its arrival ends it', async () => {
  const { rest, left } = start()
  const slow = await held(rest)
  rest.overdue()
  rest.overdue()
  assert.equal(left(), 5)
  slow.resolve('at last')
  await slow.result
  assert.equal(rest.until, undefined)
})

test('the failure of an overdue request counts as the same outage', async () => {
  const { rest, left } = start()
  const slow = await held(rest)
  rest.overdue()
  slow.reject(new UpstreamError('r', 'timeout', 'silent'))
  await assert.rejects(slow.result)
  assert.equal(left(), 5)
})

test('a failure after the upstream has answered begins no rest, unless another request was sent', async () => {
  const { rest, left } = start()
  const storage = new UpstreamError('r', 'unavailable', 'storage answered 503')
  await assert.rejects(
    rest.run(never, async ({ asked, answered }) => {
      asked()
      answered()
      throw storage
    }),
    storage,
  )
  assert.equal(rest.until, undefined)
  await assert.rejects(
    rest.run(never, async ({ asked, answered }) => {
      answered()
      asked()
      throw storage
    }),
    storage,
  )
  assert.equal(left(), 5)
})

test('a request that bypasses the rest goes out, and its success ends the rest', async () => {
  const { rest, fail } = start()
  await fail('unreachable')
  await assert.rejects(rest.bypass(() => Promise.reject(new UpstreamError('r', 'unreachable', 'still down'))))
  assert.notEqual(rest.until, undefined)
  assert.equal(await rest.bypass(async () => 'back'), 'back')
  assert.equal(rest.until, undefined)
})
