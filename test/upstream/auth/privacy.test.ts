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

test('a manifest with a tag is had by the digest that a stranger was shown', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, login)
  await subject.manifest('open', latest, neverAborted())
  const [asked] = test.requests.filter(({ kind, method }) => kind === 'manifest' && method === 'GET')
  assert.equal(asked?.reference, added.manifest.digest)
})

test('the pulls of twenty public images cost a stranger nothing that is counted', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, login)
  for (let number = 0; number < 20; number += 1) {
    const each = image({ config: { number } })
    test.addImage(`many/${number}`, 'latest', each)
    const known = await subject.manifest(`many/${number}`, latest, neverAborted())
    assert.equal(known?.digest, each.manifest.digest)
    assert.equal(await pull(subject, `many/${number}`, each.config.digest), each.config.digest)
    const checked = { digest: each.manifest.digest, etag: known?.etag }
    assert.equal((await subject.resolve(`many/${number}`, 'latest', checked, neverAborted()))?.kind, 'unchanged')
  }
  assert.equal(test.count({ kind: 'manifest', method: 'GET', authorization: ['none', 'anonymous'] }), 0)
  assert.equal(test.count({ kind: 'manifest', method: 'GET', authorization: 'login' }), 20)
})

test('blobs are had without the login, and by one request', async () => {
  await using test = await start(TestUpstream.dockerHub)
  await using subject = new Subject(test, login)
  assert.equal(await pull(subject, 'open', layer), layer)
  assert.ok(await subject.statBlob('open', layer, neverAborted()))
  assert.equal(test.count({ kind: 'blob', method: 'HEAD' }), 0)
  assert.equal(test.count({ authorization: ['login', 'basic'] }), 0)
  assert.equal(test.count({ kind: 'blob', authorization: 'anonymous' }), 2)
})

test('what a repository gets after it has become private is not shown, however public it was a moment ago', async () => {
  const hidden = new Set<string>()
  await using test = await start(TestUpstream.dockerHub, { privateRepositories: hidden })
  await using subject = new Subject(test, login)
  assert.ok(await subject.manifest('open', latest, neverAborted()))
  assert.equal(await pull(subject, 'open', layer), layer)
  hidden.add('open')
  test.expireTokens()
  const secret = image({ config: { secret: true } })
  test.addImage('open', 'latest', secret)
  await assert.rejects(subject.manifest('open', latest, neverAborted()), refused)
  await assert.rejects(subject.manifest('open', { digest: secret.manifest.digest }, neverAborted()), refused)
  assert.equal(await subject.statBlob('open', secret.config.digest, neverAborted()), undefined)
  assert.equal(await pull(subject, 'open', secret.config.digest), 'absent')
  assert.equal(test.count({ reference: secret.manifest.digest, authorization: 'login' }), 0)
})

for (const [name, preset] of Object.entries({ 'ghcr.io': TestUpstream.ghcr, 'quay.io': TestUpstream.quay })) {
  test(`${name}: what is guarded for GET alone is not shown by a HEAD`, async () => {
    await using test = await start(preset)
    await using subject = new Subject(test, login)
    for (const kind of ['manifest', 'blob'] as const) {
      test.fault({ kind, method: 'GET', authorization: ['none', 'anonymous'] }, { status: 403 })
    }
    await assert.rejects(subject.manifest('open', latest, neverAborted()), refused)
    await assert.rejects(subject.manifest('open', { digest: added.manifest.digest }, neverAborted()), refused)
    assert.equal(await subject.statBlob('open', layer, neverAborted()), undefined)
    assert.equal(await pull(subject, 'open', layer), 'absent')
    assert.equal(test.count({ authorization: ['login', 'basic'] }), 0)
  })
}

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
