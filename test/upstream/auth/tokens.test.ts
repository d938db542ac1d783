import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UpstreamError } from '../../../src/oci/error.ts'
import type { BearerOptions } from '../../support/access.ts'
import { Gate } from '../../support/gate.ts'
import { image } from '../../support/image.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { neverAborted, pull, refused, Subject } from '../subject.ts'

const token = { kind: 'token' } as const
const latest = { tag: 'latest' }

async function start(auth: Partial<BearerOptions> = {}) {
  const upstream = await TestUpstream.start({ auth: { kind: 'bearer', ...auth } })
  const added = image()
  upstream.addImage('a/b', 'latest', added)
  return { upstream, added }
}

test('one repository costs one challenge and one token, however many requests follow', async () => {
  const { upstream, added } = await start()
  await using test = upstream
  await using subject = new Subject(test)
  for (const { digest } of [added.config, ...added.layers]) assert.equal(await pull(subject, 'a/b', digest), digest)
  await subject.manifest('a/b', latest, neverAborted())
  assert.equal(test.count(token), 1)
  assert.equal(test.count({ status: 401 }), 1)
  test.addImage('c', 'latest', added)
  await subject.manifest('c', latest, neverAborted())
  assert.equal(test.count(token), 2)
  assert.deepEqual(
    test.requests.filter(({ kind }) => kind === 'token').map(({ repository }) => repository),
    ['a/b', 'c'],
  )
})

test('requests that need the same token share one fetch', async () => {
  const { upstream, added } = await start()
  await using test = upstream
  await using subject = new Subject(test)
  const gate = new Gate()
  test.fault(token, { gate })
  const pulls = Array.from({ length: 10 }, () => subject.manifest('a/b', latest, neverAborted()))
  const leaver = new AbortController()
  const leaving = subject.manifest('a/b', latest, leaver.signal)
  await gate.arrived()
  leaver.abort(new Error('left'))
  await assert.rejects(leaving, /left/)
  gate.open()
  for (const manifest of await Promise.all(pulls)) assert.equal(manifest?.digest, added.manifest.digest)
  assert.equal(test.count(token), 1)
})

const lives: { name: string; auth: Parameters<typeof start>[0]; good: number; old: number }[] = [
  { name: 'what the service says', auth: { tokenTtl: 1000 }, good: 899, old: 901 },
  { name: '60 s where it says less', auth: { tokenTtl: 5 }, good: 53, old: 55 },
  { name: '60 s where it says nothing', auth: { omitExpiresIn: true }, good: 53, old: 55 },
]

for (const { name, auth, good, old } of lives) {
  test(`a token is used for nine tenths of its lifetime: ${name}`, async () => {
    const { upstream } = await start(auth)
    await using test = upstream
    await using subject = new Subject(test)
    const begin = subject.clock.now
    for (const [seconds, tokens] of [
      [0, 1],
      [good, 1],
      [old, 2],
    ] as const) {
      subject.clock.now = begin + seconds * 1000
      assert.ok(await subject.manifest('a/b', latest, neverAborted()))
      assert.equal(test.count(token), tokens)
    }
    assert.equal(test.count({ status: 401 }), 1, 'a new token is fetched without asking what for')
  })
}

test('access_token instead of token, several challenges in one header, and a scope that is no repository', async () => {
  const { upstream } = await start({ tokenField: 'access_token', multipleChallenges: true, scopeFromChallenge: 'aws' })
  await using test = upstream
  await using subject = new Subject(test)
  assert.ok(await subject.manifest('a/b', latest, neverAborted()))
  assert.equal(new URLSearchParams(test.requests.find(({ kind }) => kind === 'token')?.query).get('scope'), 'aws')
  test.addImage('c', 'latest', image())
  assert.ok(await subject.manifest('c', latest, neverAborted()))
  assert.equal(test.count(token), 1, 'the scope is the same, and so is the token')
})

test('after a 401 without a challenge, the challenge comes from one request to /v2/', async () => {
  const { upstream } = await start({ challengeOnRealRequests: false })
  await using test = upstream
  await using subject = new Subject(test)
  assert.ok(await subject.manifest('a/b', latest, neverAborted()))
  test.addImage('c', 'latest', image())
  assert.ok(await subject.manifest('c', latest, neverAborted()))
  test.expireTokens()
  assert.ok(await subject.manifest('c', latest, neverAborted()))
  assert.equal(test.count({ kind: 'ping' }), 1)
})

test('a kept token that is refused is fetched again once', async () => {
  const { upstream } = await start()
  await using test = upstream
  await using subject = new Subject(test)
  await subject.manifest('a/b', latest, neverAborted())
  test.expireTokens()
  test.reset()
  assert.ok(await subject.manifest('a/b', latest, neverAborted()))
  assert.deepEqual(
    test.requests.map(({ kind, status }) => `${kind} ${status}`),
    ['manifest 401', 'token 200', 'manifest 200'],
  )
  test.reset()
  test.fault({ kind: 'manifest', status: [200, 401] }, { status: 401 })
  await assert.rejects(subject.manifest('a/b', latest, neverAborted()), refused)
  assert.deepEqual(
    test.requests.map(({ kind, status }) => `${kind} ${status}`),
    ['manifest 401', 'token 200', 'manifest 401'],
  )
})

test('a refusal by the token service is absence', async () => {
  const { upstream } = await start({ anonymous: false })
  await using test = upstream
  await using subject = new Subject(test)
  await assert.rejects(subject.manifest('a/b', latest, neverAborted()), refused)
  assert.equal(test.count(token), 1)
})

test('a registry that demands a login is denied where none is configured', async () => {
  await using test = await TestUpstream.start({ auth: { kind: 'basic', users: { us: 'secret' } } })
  await using subject = new Subject(test)
  test.addImage('a/b', 'latest', image())
  await assert.rejects(subject.manifest('a/b', latest, neverAborted()), {
    name: 'UpstreamError',
    kind: 'denied',
    status: 401,
  })
  assert.equal(subject.restsUntil, undefined)
})

const broken: { name: string; behaviour: Parameters<TestUpstream['fault']>[1]; kind: UpstreamError['kind'] }[] = [
  { name: '503', behaviour: { status: 503 }, kind: 'unavailable' },
  { name: '429', behaviour: { status: 429, headers: { 'retry-after': '7' } }, kind: 'rate-limited' },
  { name: '404', behaviour: { status: 404 }, kind: 'protocol' },
  {
    name: "a firewall's page",
    behaviour: { status: 403, body: '<html>', headers: { 'content-type': 'text/html' } },
    kind: 'unavailable',
  },
  {
    name: 'text for a person',
    behaviour: { status: 403, body: 'blocked', headers: { 'content-type': 'text/plain' } },
    kind: 'unavailable',
  },
  { name: 'no JSON', behaviour: { status: 200, body: '<html>' }, kind: 'protocol' },
  { name: 'no token', behaviour: { status: 200, body: '{"token":""}' }, kind: 'protocol' },
  { name: 'a token that is no header', behaviour: { status: 200, body: '{"token":"a\\nb: c"}' }, kind: 'protocol' },
  { name: 'too much', behaviour: { status: 200, body: `{"token":"${'x'.repeat(70_000)}"}` }, kind: 'protocol' },
  { name: 'too much, chunked', behaviour: { status: 200, body: 'x'.repeat(70_000), chunked: true }, kind: 'protocol' },
  {
    name: 'a redirect to a metadata service',
    behaviour: { status: 307, headers: { location: 'http://169.254.169.254/' } },
    kind: 'protocol',
  },
  {
    name: 'redirects without end',
    behaviour: { status: 307, headers: { location: '/token?again' } },
    kind: 'protocol',
  },
  { name: 'a connection cut', behaviour: { instead: 'fin' }, kind: 'unreachable' },
  { name: 'silence', behaviour: { instead: 'silence' }, kind: 'timeout' },
]

for (const { name, behaviour, kind } of broken) {
  test(`a token service with ${name} is a failure, and not absence`, async () => {
    const { upstream } = await start()
    await using test = upstream
    await using subject = new Subject(test, { limits: { token: name === 'silence' ? 30 : 5000 } })
    test.fault(token, behaviour)
    const asked = subject.manifest('a/b', latest, neverAborted())
    await assert.rejects(asked, (error) => error instanceof UpstreamError && error.kind === kind)
    assert.equal(subject.restsUntil !== undefined, kind !== 'protocol')
  })
}

test('no request goes to a realm on a metadata address', async () => {
  const { upstream } = await start({ realm: 'http://169.254.169.254/latest/meta-data' })
  await using test = upstream
  await using subject = new Subject(test)
  await assert.rejects(subject.manifest('a/b', latest, neverAborted()), { kind: 'protocol' })
})
