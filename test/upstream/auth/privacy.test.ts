import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../../src/oci/digest.ts'
import { image } from '../../support/image.ts'
import { TestUpstream, type UpstreamOptions } from '../../support/upstream.ts'
import { neverAborted, pull, refused, Subject } from '../subject.ts'

// Docker Hub's token service has another name than the registry, in the test upstream too.
const login = { credential: { username: 'us', password: 'secret' }, tokenRealm: 'localhost' }
const latest = { tag: 'latest' }
const added = image()
const layer: Digest = added.layers[0]?.digest ?? assert.fail()

async function start(preset: (options: UpstreamOptions) => Promise<TestUpstream>, more: object = {}) {
  const upstream = await preset({
    auth: {
      kind: 'bearer',
      users: { us: 'secret' },
      privateRepositories: new Set(['hidden']),
      issueTokensForAnything: preset === TestUpstream.dockerHub,
      ...more,
    },
  })
  for (const repository of ['open', 'hidden']) upstream.addImage(repository, 'latest', added)
  return upstream
}

for (const [name, preset] of Object.entries({
  'Docker Hub': TestUpstream.dockerHub,
  'ghcr.io': TestUpstream.ghcr,
  'quay.io': TestUpstream.quay,
})) {
  test(`${name}: a login for the rate limit alone opens no private repository`, async () => {
    await using test = await start(preset)
    await using subject = new Subject(test, login)
    assert.equal(subject.servesPrivate, false)
    await assert.rejects(subject.resolve('hidden', 'latest', undefined, neverAborted()), refused)
    await assert.rejects(subject.manifest('hidden', latest, neverAborted()), refused)
    await assert.rejects(subject.manifest('hidden', { digest: added.manifest.digest }, neverAborted()), refused)
    assert.equal(await subject.statBlob('hidden', layer, neverAborted()), undefined)
    assert.equal(await pull(subject, 'hidden', layer), 'absent')
    assert.equal(test.count({ authorization: ['login', 'basic'] }), 0, 'the login was not even shown')
  })
}

test('a public repository is asked with the login, after an anonymous request has succeeded', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, login)
  const found = await subject.manifest('open', latest, neverAborted())
  assert.deepEqual([found?.digest, found?.visibility], [added.manifest.digest, 'public'])
  assert.deepEqual(
    test.requests.map(({ kind, method, authorization }) => `${method} ${kind} ${authorization}`),
    ['HEAD manifest none', 'GET token none', 'HEAD manifest anonymous', 'GET token basic', 'GET manifest login'],
  )
})

test('a successful anonymous request counts for a quarter of an hour', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, login)
  const count = () => {
    const heads = test.count({ method: 'HEAD', authorization: 'anonymous' })
    test.reset()
    return heads
  }
  assert.equal(await pull(subject, 'open', layer), layer)
  assert.equal(count(), 1)
  subject.clock.now += 15 * 60_000 - 1
  assert.ok(await subject.manifest('open', latest, neverAborted()))
  assert.equal(count(), 0)
  subject.clock.now += 2
  assert.ok(await subject.manifest('open', latest, neverAborted()))
  assert.equal(count(), 1)
})

test('a repository that becomes private is absent within a quarter of an hour', async () => {
  const hidden = new Set<string>()
  await using test = await start(TestUpstream.dockerHub, { privateRepositories: hidden })
  await using subject = new Subject(test, login)
  assert.ok(await subject.manifest('open', latest, neverAborted()))
  hidden.add('open')
  test.expireTokens()
  subject.clock.now += 15 * 60_000 + 1
  await assert.rejects(subject.manifest('open', latest, neverAborted()), refused)
})

test('an anonymous check that fails is a failure, and not absence', async () => {
  await using test = await start(TestUpstream.dockerHub)
  const faults = [
    { behaviour: { status: 429, headers: { 'retry-after': '1' } }, kind: 'rate-limited' },
    { behaviour: { status: 503 }, kind: 'unavailable' },
    { behaviour: { instead: 'fin' }, kind: 'unreachable' },
  ] as const
  for (const { behaviour, kind } of faults) {
    await using subject = new Subject(test, login)
    test.fault({ authorization: 'anonymous' }, behaviour)
    await assert.rejects(subject.manifest('open', latest, neverAborted()), { kind })
    await using other = new Subject(test, login)
    await assert.rejects(pull(other, 'open', layer), { kind })
    test.clearFaults()
  }
  assert.equal(test.count({ authorization: ['login', 'basic'] }), 0)
})

test('a public repository that the login may not read is asked anonymously', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, login)
  test.fault({ kind: 'manifest', authorization: 'login' }, { status: 403 })
  assert.ok(await subject.manifest('open', latest, neverAborted()))
  assert.deepEqual(subject.refusals, [])
})

test('with a refused login public repositories work, and private ones stay absent', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, { ...login, credential: { username: 'us', password: 'outdated' } })
  assert.ok(await subject.manifest('open', latest, neverAborted()))
  assert.equal(await pull(subject, 'open', layer), layer)
  await assert.rejects(subject.manifest('hidden', latest, neverAborted()), refused)
  assert.equal(test.count({ authorization: 'basic' }), 1)
  assert.equal(subject.refusals.length, 1)
})
