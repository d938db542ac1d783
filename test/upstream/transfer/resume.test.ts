import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Behaviour } from '../../support/behaviour.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { digestOfSource, neverAborted, pull, Subject, whole } from '../subject.ts'

const KiB = 1024
const size = 2048 * KiB
const auth = { kind: 'bearer' } as const
const get = { kind: 'blob', method: 'GET', status: [200, 206] } as const

const troubles: { name: string; behaviour: Behaviour; cost: number }[] = [
  { name: 'a cut (FIN)', behaviour: { cutAfter: 300 * KiB }, cost: 2 },
  { name: 'a cut (RST)', behaviour: { cutAfter: 300 * KiB, cut: 'rst' }, cost: 2 },
  { name: 'a cut at once', behaviour: { cutAfter: 0 }, cost: 2 },
  { name: 'a cut before the last byte', behaviour: { cutAfter: size - 1 }, cost: 2 },
  { name: 'a cut in a chunked body', behaviour: { cutAfter: 300 * KiB, chunked: true }, cost: 2 },
  { name: 'a stall', behaviour: { stallAfter: 300 * KiB }, cost: 2 },
  { name: 'a body shorter than its length', behaviour: { truncateTo: 300 * KiB, contentLength: size }, cost: 2 },
]

for (const { name, behaviour, cost } of troubles) {
  test(`${name} is resumed unseen`, async () => {
    await using test = await TestUpstream.start({ auth })
    await using subject = new Subject(test, { limits: name === 'a stall' ? { stall: 100 } : {} })
    const digest = test.addSynthetic('a', size)
    test.fault(get, { ...behaviour, times: 1 })
    assert.equal(await pull(subject, 'a', digest), digest)
    assert.equal(test.count(get), cost)
    const sent = test.bytes(get)
    assert.ok(sent <= size + 512 * KiB, `${sent} bytes sent`)
    assert.equal(subject.restsUntil, undefined)
  })
}

test('a cut in a range: the rest of the range is asked for', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', size)
  test.fault(get, { cutAfter: 64 * KiB, times: 1 })
  const span = { start: 100 * KiB, end: 300 * KiB - 1 }
  const cut = await pull(subject, 'a', digest, span)
  assert.match(test.requests[1]?.range ?? '', new RegExp(`^bytes=\\d+-${span.end}$`))
  assert.equal(await pull(subject, 'a', digest, span), cut)
})

test('six cuts, tokens and signatures expiring between them', async () => {
  await using test = await TestUpstream.start({ auth: { ...auth, realm: 'elsewhere' }, cdn: true })
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', size)
  for (let cut = 0; cut < 6; cut += 1) test.fault({ kind: 'cdn' }, { cutAfter: 200 * KiB, times: 1 })
  const source = await subject.blob('a', digest, whole, neverAborted())
  const got = await digestOfSource(source, () => {
    test.expireTokens()
    test.expireSignatures()
  })
  assert.equal(got, digest)
  assert.equal(test.count({ kind: 'cdn', status: [200, 206] }), 7)
  assert.equal(test.count({ kind: 'token' }), 7)
  assert.ok(test.bytes({ kind: 'cdn' }) < size + 7 * 256 * KiB)
})

test('a redirect whose signature has expired: the registry gives another', async () => {
  await using test = await TestUpstream.start({ cdn: true })
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', size)
  test.fault({ kind: 'cdn' }, { cutAfter: 200 * KiB, times: 1 })
  test.fault({ kind: 'cdn' }, { status: 403, times: 2 })
  assert.equal(await pull(subject, 'a', digest), digest)
  assert.deepEqual(
    test.requests.filter(({ kind }) => kind === 'cdn').map(({ status }) => status),
    [200, 403, 403, 206],
  )
  assert.equal(test.count({ kind: 'blob', status: 307 }), 4)
})

const refusals: { name: string; behaviour: Behaviour }[] = [
  { name: '500', behaviour: { status: 500 } },
  { name: '503 with Retry-After', behaviour: { status: 503, headers: { 'retry-after': '1' } } },
  { name: '429', behaviour: { status: 429 } },
  { name: '404', behaviour: { status: 404 } },
  { name: 'a closed connection', behaviour: { instead: 'fin' } },
  { name: 'silence', behaviour: { instead: 'silence' } },
]

for (const { name, behaviour } of refusals) {
  test(`attempts to resume that meet ${name} are repeated`, async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test, { limits: name === 'silence' ? { headers: 500 } : {} })
    const digest = test.addSynthetic('a', size)
    test.fault(get, { cutAfter: 200 * KiB, times: 1 })
    test.fault({ kind: 'blob' }, { ...behaviour, times: 3 })
    assert.equal(await pull(subject, 'a', digest), digest)
    // A kept connection that closes under a request may be stale: that is tried once more at once.
    assert.ok(test.count() >= 5)
    if (name !== '429') assert.equal(subject.restsUntil, undefined)
  })
}

test('five attempts in a row without a byte, and no more', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', size)
  test.fault(get, { cutAfter: 200 * KiB, times: 1 })
  test.fault({ kind: 'blob' }, { status: 500 })
  let received = 0
  const source = await subject.blob('a', digest, whole, neverAborted())
  const failed = digestOfSource(source, (bytes) => {
    received = bytes
  })
  await assert.rejects(failed, { name: 'UpstreamError', kind: 'unavailable', status: 500 })
  assert.equal(received, 200 * KiB)
  assert.equal(test.count(), 6)
  assert.notEqual(subject.restsUntil, undefined)
})

test('the budget is reset by progress', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test, { limits: { resumeAttempts: 2 } })
  const digest = test.addSynthetic('a', size)
  test.fault(get, { cutAfter: 100 * KiB })
  assert.equal(await pull(subject, 'a', digest), digest)
  assert.equal(test.count(), Math.ceil(size / (100 * KiB)))
})

const changes: { name: string; behaviour: Behaviour }[] = [
  { name: 'of another place', behaviour: { wrongContentRange: true } },
  { name: 'of another blob', behaviour: { setHeaders: { 'content-range': `bytes ${300 * KiB}-${size}/${size + 1}` } } },
  { name: 'that ignores the range', behaviour: { ignoreRange: true } },
  { name: 'that has been compressed', behaviour: { setHeaders: { 'content-encoding': 'gzip' } } },
]

for (const { name, behaviour } of changes) {
  test(`an answer ${name} ends the body, and is not joined to it`, async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test)
    const digest = test.addSynthetic('a', size)
    const cutAfter = name === 'that ignores the range' ? 1200 * KiB : 300 * KiB
    test.fault(get, { cutAfter, times: 1 })
    test.fault(get, behaviour)
    await assert.rejects(pull(subject, 'a', digest), { name: 'UpstreamError', kind: 'protocol' })
    assert.equal(test.count(), 2)
  })
}

test('a registry without ranges: a short start is read again', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', size)
  test.fault(get, { cutAfter: 300 * KiB, times: 1 })
  test.fault(get, { ignoreRange: true })
  assert.equal(await pull(subject, 'a', digest), digest)
  assert.equal(test.count(), 2)
})

test('a body without length is resumed, and the length learnt', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', size)
  test.fault(get, { cutAfter: 300 * KiB, chunked: true, times: 1 })
  test.fault(get, { cutAfter: 300 * KiB, times: 1 })
  const source = await subject.blob('a', digest, whole, neverAborted())
  assert.equal(source?.size, undefined)
  assert.equal(await digestOfSource(source), digest)
})

test('a reader that leaves between two attempts leaves at once', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test, { limits: { resumeDelay: 3_600_000, resumeDelayMax: 3_600_000 } })
  const digest = test.addSynthetic('a', size)
  test.fault(get, { cutAfter: 0 })
  const leaver = new AbortController()
  const source = await subject.blob('a', digest, whole, leaver.signal)
  const waiting = digestOfSource(source)
  await new Promise((resolve) => setImmediate(resolve))
  leaver.abort(new Error('left'))
  await assert.rejects(waiting, /left/)
})

test('the login of a running body is the one it began with', async () => {
  const hidden = new Set(['a'])
  await using test = await TestUpstream.start({
    auth: { kind: 'bearer', users: { us: 'secret' }, privateRepositories: hidden },
    cdn: true,
  })
  const credential = { username: 'us', password: 'secret' }
  await using subject = new Subject(test, { credential, privateRepositories: 'serve' })
  const digest = test.addSynthetic('a', size)
  test.fault({ kind: 'cdn' }, { cutAfter: 300 * KiB, times: 2 })
  const source = await subject.blob('a', digest, whole, neverAborted())
  assert.equal(source?.visibility, 'unproven')
  assert.equal(await digestOfSource(source, () => test.expireTokens()), digest)
})
