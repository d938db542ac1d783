import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acceptManifests } from '../../src/oci/media-type.ts'
import { image, randomBlob } from '../support/image.ts'
import { TestUpstream } from '../support/upstream.ts'
import { neverAborted, pull, refused, Subject } from './subject.ts'

const login = { credential: { username: 'us', password: 'secret' }, privateRepositories: 'serve' } as const
const auth = { kind: 'bearer', users: { us: 'secret' } } as const
const body = randomBlob(100_000)
const latest = { tag: 'latest' }

for (const [name, cdn] of Object.entries({
  '307': {},
  '302': { status: 302 },
  relative: { relative: true },
} as const)) {
  test(`a redirect of a blob (${name}) keeps the range`, async () => {
    await using test = await TestUpstream.start({ auth, cdn })
    await using subject = new Subject(test, login)
    const digest = test.addBlob('a', body)
    assert.equal(await pull(subject, 'a', digest), digest)
    const part = await subject.blob('a', digest, { start: 10, end: 99 }, neverAborted())
    assert.equal(part?.size, body.length)
    assert.deepEqual(Buffer.concat(await Array.fromAsync(part?.body ?? [])), body.subarray(10, 100))
    const there = test.requests.filter(({ kind }) => kind === 'cdn')
    assert.deepEqual(
      there.map(({ range }) => range),
      [undefined, 'bytes=10-99'],
    )
    const authorized = name === 'relative' ? 'login' : 'none'
    assert.ok(there.every(({ authorization }) => authorization === authorized))
    assert.ok(there.every(({ headers }) => headers['accept-encoding'] === 'identity'))
  })
}

test('every request follows a new redirect', async () => {
  await using test = await TestUpstream.start({ auth, cdn: true })
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  assert.equal(await pull(subject, 'a', digest), digest)
  test.expireSignatures()
  assert.equal(await pull(subject, 'a', digest), digest)
  assert.equal(test.count({ kind: 'cdn', status: 403 }), 0)
})

test('another registry behind a redirect gets a token of its own, the same Accept, and never our login', async () => {
  await using target = await TestUpstream.start({
    name: 'localhost',
    auth: { kind: 'bearer', users: { us: 'secret' } },
  })
  await using test = await TestUpstream.start({ auth, manifestRedirect: target, redirectPrefix: 'mirrored/' })
  await using subject = new Subject(test, login)
  test.addImage('a', 'latest', image())
  assert.ok(await subject.manifest('a', latest, neverAborted()))
  assert.ok(target.requests.length > 0)
  assert.ok(target.requests.every(({ authorization }) => authorization === 'none' || authorization === 'anonymous'))
  const manifests = target.requests.filter(({ kind }) => kind === 'manifest')
  assert.ok(manifests.every(({ headers }) => headers.accept === acceptManifests))
})

test('another registry behind a redirect that demands a login gets none', async () => {
  await using target = await TestUpstream.start({ name: 'localhost', auth: { kind: 'basic', users: { us: 'secret' } } })
  await using test = await TestUpstream.start({ manifestRedirect: target })
  await using subject = new Subject(test, login)
  test.addImage('a', 'latest', image())
  await assert.rejects(subject.manifest('a', latest, neverAborted()), refused)
  assert.ok(target.requests.every(({ headers }) => headers.authorization === undefined))
})

test('a redirect back to our registry from another host is followed without the login', async () => {
  await using stranger = await TestUpstream.start({ name: 'localhost' })
  await using test = await TestUpstream.start({ auth: { ...auth, privateRepositories: new Set(['hidden', 'mine']) } })
  await using subject = new Subject(test, login)
  const digest = test.addBlob('hidden', body)
  const own = test.addBlob('mine', randomBlob(10))
  const lured = stranger.fault({}, { status: 307, headers: { location: `${test.url}/v2/hidden/blobs/${digest}` } })
  const sent = test.fault(
    { kind: 'blob', repository: 'mine' },
    { status: 307, headers: { location: `${stranger.url}/x` } },
  )
  assert.equal(await pull(subject, 'mine', own), 'absent')
  assert.equal(lured.hits, 1)
  assert.equal(test.count({ repository: 'hidden', authorization: ['login', 'basic'] }), 0)
  sent.remove()
  assert.equal(await pull(subject, 'mine', own), own, 'and what is ours is not confused by it')
})

test('six redirects are followed, and no more', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  const location = `${test.url}/v2/a/blobs/${digest}`
  const hop = { status: 307, headers: { location } }
  test.fault({ kind: 'blob' }, { ...hop, times: 6 })
  assert.equal(await pull(subject, 'a', digest), digest)
  test.reset()
  test.fault({ kind: 'blob' }, hop)
  await assert.rejects(pull(subject, 'a', digest), { name: 'UpstreamError', kind: 'protocol' })
  assert.equal(test.count(), 7)
})

const nowhere = ['http://169.254.169.254/latest', 'http://[fe80::1]/', 'file:///etc/passwd', 'http://', '']

for (const location of nowhere) {
  test(`a redirect to "${location}" is a protocol error`, async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test)
    const digest = test.addBlob('a', body)
    test.fault({ kind: ['blob', 'manifest'] }, { status: 302, headers: location === '' ? {} : { location } })
    await assert.rejects(pull(subject, 'a', digest), { name: 'UpstreamError', kind: 'protocol' })
    await assert.rejects(subject.statBlob('a', digest, neverAborted()), { kind: 'protocol' })
    await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'protocol' })
    assert.equal(subject.restsUntil, undefined)
  })
}

test('no error contains a signed URL', async () => {
  await using test = await TestUpstream.start({ cdn: true })
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  test.fault({ kind: 'cdn' }, { status: 403 })
  await assert.rejects(pull(subject, 'a', digest), (error: Error) => {
    assert.doesNotMatch(`${error.stack} ${error.cause}`, /signature/)
    return true
  })
})
