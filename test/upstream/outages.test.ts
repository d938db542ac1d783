import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Gate } from '../support/gate.ts'
import { image, randomBlob } from '../support/image.ts'
import { TestUpstream } from '../support/upstream.ts'
import { neverAborted, pull, Subject } from './subject.ts'

const latest = { tag: 'latest' }

/** A few turns of the event loop. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

test('an upstream that is down rests, and is in order when it answers again', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  await test.stop()
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'unreachable' })
  assert.equal(subject.restsUntil, subject.clock.now + 5000)
  assert.equal(subject.status().state, 'resting')
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'unreachable' })
  assert.equal(subject.restsUntil, subject.clock.now + 10_000)
  await test.restart()
  assert.ok(await subject.manifest('a', latest, neverAborted()))
  assert.equal(subject.restsUntil, undefined)
  const { state, requests, errors } = subject.status()
  assert.deepEqual([state, requests, errors], ['ok', 3, 2])
})

test('during a rest one request goes out as a trial, and the others share its outcome', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  test.fault({ kind: 'manifest' }, { status: 503, times: 1 })
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'unavailable', status: 503 })
  for (const status of [502, undefined]) {
    test.reset()
    const gate = new Gate()
    test.fault({}, { gate, times: 1, ...(status && { status }) })
    const asked = Array.from({ length: 5 }, () => subject.manifest('a', latest, neverAborted()))
    const all = Promise.allSettled(asked)
    await gate.arrived()
    await turns()
    assert.equal(test.count(), 1)
    gate.open()
    const outcomes = (await all).map((one) => (one.status === 'fulfilled' ? 'found' : one.reason.kind))
    assert.deepEqual(new Set(outcomes), new Set([status ? 'unavailable' : 'found']))
    assert.equal(test.count(), status ? 1 : 5)
  }
})

test('after a 429 no request goes out until Retry-After is over', async () => {
  await using test = await TestUpstream.dockerHub({ rateLimit: { limit: 1, window: 21600 } })
  await using subject = new Subject(test)
  const added = image()
  test.addImage('a', 'latest', added)
  assert.ok(await subject.manifest('a', latest, neverAborted()))
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'rate-limited', status: 429 })
  assert.equal(subject.status().rateLimit?.remaining, 0)
  test.reset()
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'rate-limited', retryAfter: 5 })
  await assert.rejects(subject.resolve('a', 'latest', undefined, neverAborted()), { kind: 'rate-limited' })
  assert.equal(test.count(), 0)
  test.resetRateLimit()
  subject.clock.now += 5000
  assert.ok(await subject.manifest('a', latest, neverAborted()))
})

test('Retry-After is obeyed as seconds and as a date', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const date = new Date(subject.clock.now + 120_000).toUTCString()
  for (const [retryAfter, seconds] of [
    ['90', 90],
    [date, 120],
    ['86400', 3600],
  ] as const) {
    await using fresh = new Subject(test)
    test.fault({ kind: 'manifest' }, { status: 429, headers: { 'retry-after': retryAfter } })
    await assert.rejects(fresh.manifest('a', latest, neverAborted()), { kind: 'rate-limited' })
    assert.equal(fresh.restsUntil, fresh.clock.now + seconds * 1000)
  }
})

test('an overdue answer makes the upstream rest until it arrives', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  const gate = new Gate()
  test.fault({ kind: 'manifest' }, { gate })
  const asked = subject.manifest('a', latest, neverAborted())
  await gate.arrived()
  subject.overdue()
  assert.equal(subject.restsUntil, subject.clock.now + 5000)
  gate.open()
  assert.ok(await asked)
  assert.equal(subject.restsUntil, undefined)
})

test('absence, refusal and protocol errors of one repository begin no rest', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  for (const status of [401, 403, 404, 400, 418]) {
    test.fault({ kind: 'manifest' }, { status })
    await subject.manifest('a', latest, neverAborted()).catch(() => {})
    assert.equal(subject.restsUntil, undefined)
  }
})

test('storage that is down begins no rest', async () => {
  await using test = await TestUpstream.start({ cdn: true })
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  const digest = test.addBlob('a', randomBlob(1000))
  await test.stop('cdn')
  await assert.rejects(pull(subject, 'a', digest), { kind: 'unreachable' })
  assert.equal(subject.restsUntil, undefined)
  assert.ok(await subject.manifest('a', latest, neverAborted()))
})

test('a token service that is down makes the upstream rest', async () => {
  await using test = await TestUpstream.start({ auth: { kind: 'bearer' } })
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  test.fault({ kind: 'token' }, { status: 502 })
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'unavailable' })
  assert.equal(subject.restsUntil, subject.clock.now + 5000)
})

test('a request on a kept connection that the server closes is sent again', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  assert.ok(await subject.manifest('a', latest, neverAborted()))
  await turns() // until the connection is free again
  test.fault({ kind: 'manifest' }, { instead: 'fin', times: 1 })
  assert.ok(await subject.manifest('a', latest, neverAborted()))
  assert.equal(test.count(), 3)
})

test('a web page instead of an answer is an outage, and not absence', async () => {
  await using test = await TestUpstream.dockerHub()
  await using subject = new Subject(test)
  test.addImage('a', 'latest', image())
  const page = { status: 403, headers: { 'content-type': 'text/html; charset=UTF-8' }, body: '<h1>Sorry</h1>' }
  const fault = test.fault({ kind: 'manifest' }, page)
  await assert.rejects(subject.manifest('a', latest, neverAborted()), { kind: 'unavailable', status: 403 })
  await assert.rejects(subject.resolve('a', 'latest', undefined, neverAborted()), { kind: 'unavailable', status: 403 })
  fault.remove()
  assert.ok(await subject.manifest('a', latest, neverAborted()))
})
