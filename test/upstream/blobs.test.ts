import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobSpan } from '../../src/upstream/upstream.ts'
import type { Behaviour } from '../support/behaviour.ts'
import { randomBlob } from '../support/image.ts'
import { TestUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { until } from '../support/wait.ts'
import { digestOfSource, neverAborted, pull, Subject, whole } from './subject.ts'

const body = randomBlob(300_000)
const size = body.length
const empty = Buffer.alloc(0)
const head = { kind: 'blob', method: 'HEAD' } as const
const get = { kind: 'blob', method: 'GET' } as const

const stats: { name: string; options?: UpstreamOptions; behaviour?: Behaviour; asked: string; size?: undefined }[] = [
  { name: 'HEAD', asked: 'HEAD' },
  { name: 'HEAD answers 401 (public.ecr.aws)', behaviour: { headStatus: 401 }, asked: 'HEAD GET' },
  { name: 'HEAD answers 403', behaviour: { headStatus: 403 }, asked: 'HEAD GET' },
  { name: 'HEAD answers 405', behaviour: { headStatus: 405 }, asked: 'HEAD GET' },
  { name: 'HEAD answers 500', behaviour: { headStatus: 500 }, asked: 'HEAD GET' },
  { name: 'HEAD hides the length', behaviour: { omitHeaders: ['content-length'] }, asked: 'HEAD GET' },
  { name: 'HEAD lies about the length', behaviour: { contentLength: 0 }, asked: 'HEAD GET' },
  { name: 'HEAD by redirect', options: { cdn: true }, asked: 'HEAD cdn:HEAD' },
  {
    name: 'HEAD refused by the storage (ghcr.io)',
    options: { cdn: { head: 'refuse' } },
    asked: 'HEAD cdn:HEAD GET cdn:GET',
  },
  { name: 'HEAD without redirect (GAR)', options: { cdn: { head: 'direct' } }, asked: 'HEAD' },
]

for (const { name, options, behaviour, asked } of stats) {
  test(`stat finds a blob and reads none of it: ${name}`, async () => {
    await using test = await TestUpstream.start(options)
    await using subject = new Subject(test)
    const digest = test.addBlob('a', body)
    if (behaviour) test.fault(head, behaviour)
    assert.deepEqual(await subject.statBlob('a', digest, neverAborted()), { size, visibility: 'public' })
    const methods = test.requests
      .filter(({ kind }) => kind !== 'ping')
      .map(({ kind, method }) => (kind === 'cdn' ? `cdn:${method}` : method))
    assert.equal(methods.join(' '), asked)
    assert.ok(test.bytes() < 2000)
    assert.ok(
      test.requests.every(({ method, kind, range }) => method === 'HEAD' || kind === 'ping' || range === 'bytes=0-0'),
    )
    test.reset()
    await subject.statBlob('a', digest, neverAborted())
    assert.equal(test.count({ method: 'HEAD' }), asked.includes('GET') ? 0 : asked.split(' ').length)
  })
}

test('stat reads no body where the registry knows neither HEAD nor ranges', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', 64 * 1024 * 1024)
  test.fault(head, { headStatus: 405 })
  test.fault(get, { ignoreRange: true })
  assert.deepEqual(await subject.statBlob('a', digest, neverAborted()), {
    size: 64 * 1024 * 1024,
    visibility: 'public',
  })
  await until(() => test.count({ ...get, state: 'cut' }), 'the connection to be cut')
  assert.ok(test.bytes() < 32 * 1024 * 1024)
})

test('stat finds a blob whose size the registry hides', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  test.fault({ kind: 'blob' }, { omitHeaders: ['content-length'], ignoreRange: true, chunked: true })
  assert.deepEqual(await subject.statBlob('a', digest, neverAborted()), { size: undefined, visibility: 'public' })
  const source = await subject.blob('a', digest, whole, neverAborted())
  assert.equal(source?.size, undefined)
  assert.equal(await digestOfSource(source), digest)
})

test('stat and open of an empty blob', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addBlob('a', empty)
  assert.deepEqual(await subject.statBlob('a', digest, neverAborted()), { size: 0, visibility: 'public' })
  const source = await subject.blob('a', digest, whole, neverAborted())
  assert.equal(source?.size, 0)
  assert.equal(await digestOfSource(source), digest)
  test.fault(head, { headStatus: 405 })
  await using other = new Subject(test)
  assert.deepEqual(await other.statBlob('a', digest, neverAborted()), { size: 0, visibility: 'public' })
})

const spans: { span: BlobSpan; range: string | undefined }[] = [
  { span: whole, range: undefined },
  { span: { start: 0, end: 0 }, range: 'bytes=0-0' },
  { span: { start: 0, end: size - 1 }, range: `bytes=0-${size - 1}` },
  { span: { start: 1, end: undefined }, range: 'bytes=1-' },
  { span: { start: size - 1, end: undefined }, range: `bytes=${size - 1}-` },
  { span: { start: 100, end: 200_000 }, range: 'bytes=100-200000' },
  { span: { start: 100, end: size + 5 }, range: `bytes=100-${size + 5}` },
]

const ways: { name: string; behaviour?: Behaviour }[] = [
  { name: 'as asked' },
  { name: 'though the answer is the whole blob', behaviour: { ignoreRange: true } },
  { name: 'in chunks', behaviour: { chunked: true } },
  { name: 'the whole blob in chunks', behaviour: { chunked: true, ignoreRange: true } },
  { name: 'of a total that is not told', behaviour: { setHeaders: { 'content-range': 'bytes 100-200000/*' } } },
]

for (const { name, behaviour } of ways) {
  for (const { span, range } of spans) {
    const { start, end } = span
    if (name.endsWith('not told') && end !== 200_000) continue
    test(`bytes ${start}-${end ?? ''} ${name}`, async () => {
      await using test = await TestUpstream.start()
      await using subject = new Subject(test)
      const digest = test.addBlob('a', body)
      if (behaviour) test.fault(get, behaviour)
      const source = await subject.blob('a', digest, span, neverAborted())
      const hidden = behaviour?.setHeaders || (behaviour?.chunked && (behaviour.ignoreRange || !range))
      assert.equal(source?.size, hidden ? undefined : size)
      assert.equal(await digestOfSource(source), digestOf(body.subarray(start, end === undefined ? size : end + 1)))
      assert.equal(test.requests[0]?.range, range)
      assert.equal(test.count(), 1)
    })
  }
}

const wrong: { name: string; behaviour: Behaviour; span: BlobSpan; kind: string }[] = [
  {
    name: 'another range than asked for',
    behaviour: { wrongContentRange: true },
    span: { start: 5, end: 9 },
    kind: 'protocol',
  },
  {
    name: 'more than asked for',
    behaviour: { status: 206, headers: { 'content-range': 'bytes 5-99/300000' }, body: Buffer.alloc(95) },
    span: { start: 5, end: 9 },
    kind: 'protocol',
  },
  {
    name: 'another length than its range',
    behaviour: { status: 206, headers: { 'content-range': 'bytes 5-9/300000' }, body: Buffer.alloc(7) },
    span: { start: 5, end: 9 },
    kind: 'protocol',
  },
  {
    name: '206 without a range',
    behaviour: { status: 206, headers: {}, body: Buffer.alloc(5) },
    span: { start: 5, end: 9 },
    kind: 'protocol',
  },
  {
    name: '206 for the whole',
    behaviour: { status: 206, headers: { 'content-range': 'bytes 0-9/300000' }, body: Buffer.alloc(10) },
    span: whole,
    kind: 'protocol',
  },
  { name: 'a content encoding', behaviour: { contentEncoding: 'gzip-always' }, span: whole, kind: 'protocol' },
  { name: 'a range beyond the end', behaviour: {}, span: { start: size, end: undefined }, kind: 'protocol' },
  {
    name: 'a range beyond the end, and the whole',
    behaviour: { ignoreRange: true },
    span: { start: size, end: undefined },
    kind: 'protocol',
  },
  { name: '204', behaviour: { status: 204, body: '' }, span: whole, kind: 'protocol' },
  { name: '500', behaviour: { status: 500 }, span: whole, kind: 'unavailable' },
]

for (const { name, behaviour, span, kind } of wrong) {
  test(`a blob with ${name}: ${kind}, before any byte`, async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test)
    const digest = test.addBlob('a', body)
    test.fault(get, behaviour)
    await assert.rejects(subject.blob('a', digest, span, neverAborted()), { name: 'UpstreamError', kind })
    assert.equal(test.count(), 1)
  })
}

test('a 200 with the whole blob is refused where the range begins far inside', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addSynthetic('a', 32 * 1024 * 1024)
  test.fault(get, { ignoreRange: true })
  const far = { start: 1024 * 1024 + 1, end: undefined }
  await assert.rejects(subject.blob('a', digest, far, neverAborted()), { kind: 'protocol' })
  await until(() => test.count({ ...get, state: 'cut' }), 'the connection to be cut')
})

test('a body that is longer than announced fails', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  test.fault(get, { extraBytes: 10, chunked: true, setHeaders: { 'content-range': `bytes 5-${size - 1}/${size}` } })
  await assert.rejects(pull(subject, 'a', digest, { start: 5, end: undefined }), { kind: 'protocol' })
})

test('a blob that its storage has lost, or does not give, is a failure of the storage', async () => {
  await using test = await TestUpstream.start({ cdn: true })
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  for (const status of [400, 401, 403, 404, 410]) {
    test.fault({ kind: 'cdn' }, { status })
    await assert.rejects(subject.blob('a', digest, whole, neverAborted()), { kind: 'unavailable', status })
  }
  assert.equal(subject.restsUntil, undefined)
})

test('storage that fails once is asked again, through a new redirect', async () => {
  await using test = await TestUpstream.start({ cdn: true })
  await using subject = new Subject(test)
  const digest = test.addBlob('a', body)
  for (const behaviour of [{ status: 503 }, { instead: 'rst' }, { status: 403 }] as const) {
    test.fault({ kind: 'cdn' }, { ...behaviour, times: 1 })
    assert.equal(await pull(subject, 'a', digest), digest)
  }
  assert.equal(subject.restsUntil, undefined)
})

test('a reader that stops reading makes the upstream stop sending', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test)
  const total = 64 * 1024 * 1024
  const digest = test.addSynthetic('a', total)
  const source = await subject.blob('a', digest, whole, neverAborted())
  let before = -1
  await until(() => {
    const now = test.bytes()
    const still = now === before
    before = now
    return still && now > 0
  }, 'the upstream to stop sending')
  assert.ok(test.bytes() < total / 2)
  assert.equal(await digestOfSource(source), digest)
})

const leaving: { name: string; leave: (body: AsyncIterator<Buffer>, abort: () => void) => unknown }[] = [
  { name: 'returns', leave: (iterator) => iterator.return?.() },
  { name: 'aborts', leave: (_, abort) => abort() },
]

for (const { name, leave } of leaving) {
  for (const started of ['before the first byte', 'in mid-body', 'while it waits']) {
    // Who leaves a loop has had a chunk, and waits for no other.
    if (name === 'returns' && started !== 'in mid-body') continue
    test(`a reader that ${name} ${started} closes the connection`, async () => {
      await using test = await TestUpstream.start()
      await using subject = new Subject(test)
      const digest = test.addSynthetic('a', 8 * 1024 * 1024)
      if (started === 'while it waits') test.fault(get, { stallAfter: 1 })
      const leaver = new AbortController()
      const reason = new Error('left')
      const source = await subject.blob('a', digest, whole, leaver.signal)
      const iterator = source?.body[Symbol.asyncIterator]() ?? assert.fail()
      if (started !== 'before the first byte') assert.equal((await iterator.next()).done, false)
      const waiting = started === 'while it waits' ? iterator.next() : undefined
      const outcome = waiting?.then(
        ({ done }) => done,
        (error: unknown) => error,
      )
      await leave(iterator, () => leaver.abort(reason))
      await until(() => test.count({ ...get, state: 'cut' }), 'the connection to be cut')
      if (outcome) assert.equal(await outcome, name === 'aborts' ? reason : true)
      else if (name === 'aborts') await assert.rejects(iterator.next(), reason)
      assert.equal((await iterator.next()).done, true)
      assert.equal(test.count(), 1)
      assert.equal(subject.restsUntil, undefined)
    })
  }
}

test('dispose ends running downloads', async () => {
  await using test = await TestUpstream.start()
  const subject = new Subject(test, { limits: { resumeAttempts: 1 } })
  const digest = test.addSynthetic('a', 8 * 1024 * 1024)
  const source = await subject.blob('a', digest, whole, neverAborted())
  await subject[Symbol.asyncDispose]()
  await assert.rejects(digestOfSource(source), { name: 'UpstreamError', kind: 'unreachable' })
  await assert.rejects(subject.statBlob('a', digest, neverAborted()), { kind: 'unreachable' })
})
