import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { acceptManifests, ociManifest } from '../../src/oci/media-type.ts'
import type { KnownTag } from '../../src/upstream/upstream.ts'
import type { Behaviour } from '../support/behaviour.ts'
import { Gate } from '../support/gate.ts'
import { image } from '../support/image.ts'
import { TestUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { neverAborted, refused, Subject } from './subject.ts'

const added = image()
const { digest, body, size } = added.manifest
const other = digestOf(Buffer.from('other'))
const latest = { tag: 'latest' }
const head = { kind: 'manifest', method: 'HEAD' } as const
const get = { kind: 'manifest', method: 'GET' } as const

async function start(options: UpstreamOptions = {}): Promise<TestUpstream> {
  const upstream = await TestUpstream.start(options)
  upstream.addImage('a', 'latest', added)
  return upstream
}

test('a manifest has the bytes, media type and ETag that were sent', async () => {
  await using test = await start()
  await using subject = new Subject(test)
  const manifest = await subject.manifest('a', latest, neverAborted())
  const currency = { age: 0, warning: undefined }
  const sent = { digest, size, body, mediaType: ociManifest, etag: `"${digest}"`, signed: false }
  assert.deepEqual(manifest, { ...sent, currency, visibility: 'public' })
  const { headers } = test.requests[0] ?? assert.fail()
  assert.deepEqual([headers.accept, headers['accept-encoding']], [acceptManifests, 'identity'])
})

test('a manifest by its sha512 digest', async () => {
  await using test = await start()
  await using subject = new Subject(test)
  const long = digestOf(body, 'sha512')
  test.fault(get, { body, status: 200, headers: { 'content-type': ociManifest } })
  assert.equal((await subject.manifest('a', { digest: long }, neverAborted()))?.digest, long)
})

test('wrong bytes are a fault, whether the digest asked for says so or the digest header', async () => {
  await using test = await start()
  await using subject = new Subject(test)
  for (const reference of [{ digest }, latest]) {
    for (const behaviour of [{ flipByteAt: 5 }, { setHeaders: { 'docker-content-digest': other } }]) {
      test.fault(get, behaviour)
      const failure = {
        name: 'UpstreamError',
        kind: 'protocol',
        message: /^registry\.test: GET manifest a\/manifests\//,
      }
      await assert.rejects(subject.manifest('a', reference, neverAborted()), failure)
    }
  }
  assert.equal(subject.restsUntil, undefined)
})

const readable: { name: string; behaviour: Behaviour; mediaType?: string }[] = [
  { name: 'compressed though not asked to be', behaviour: { contentEncoding: 'gzip-always' } },
  { name: 'in chunks', behaviour: { chunked: true } },
  { name: 'without length, to the end of the connection', behaviour: { closeDelimited: true } },
  { name: 'as text/plain', behaviour: { setHeaders: { 'content-type': 'text/plain; charset=utf-8' } } },
  { name: 'without a digest header', behaviour: { omitHeaders: ['docker-content-digest', 'etag'] } },
]

for (const { name, behaviour } of readable) {
  test(`a manifest ${name}`, async () => {
    await using test = await start()
    await using subject = new Subject(test)
    test.fault(get, behaviour)
    for (const reference of [latest, { digest }]) {
      const manifest = await subject.manifest('a', reference, neverAborted())
      assert.deepEqual([manifest?.digest, manifest?.mediaType, manifest?.body], [digest, ociManifest, body])
    }
  })
}

const unreadable: { name: string; behaviour: Behaviour; kind: string }[] = [
  { name: 'longer than allowed', behaviour: { status: 200, body: Buffer.alloc(5000) }, kind: 'protocol' },
  {
    name: 'longer than allowed, in chunks',
    behaviour: { status: 200, body: Buffer.alloc(5000), chunked: true },
    kind: 'protocol',
  },
  {
    name: 'a bomb',
    behaviour: { status: 200, body: Buffer.alloc(1_000_000), contentEncoding: 'gzip-always' },
    kind: 'protocol',
  },
  { name: 'in an unknown encoding', behaviour: { setHeaders: { 'content-encoding': 'snappy' } }, kind: 'protocol' },
  { name: 'in a broken encoding', behaviour: { setHeaders: { 'content-encoding': 'gzip' } }, kind: 'protocol' },
  { name: 'cut', behaviour: { cutAfter: 20 }, kind: 'unreachable' },
  { name: 'shorter than announced', behaviour: { contentLength: 4000 }, kind: 'unreachable' },
  { name: 'stalled', behaviour: { stallAfter: 20 }, kind: 'timeout' },
  { name: 'silent', behaviour: { instead: 'silence' }, kind: 'timeout' },
  { name: 'refused with 418', behaviour: { status: 418 }, kind: 'protocol' },
  { name: 'not modified, though nobody asked', behaviour: { status: 304, body: '' }, kind: 'protocol' },
  { name: 'under too long headers', behaviour: { setHeaders: { x: 'x'.repeat(40_000) } }, kind: 'protocol' },
  { name: 'refused with 429', behaviour: { status: 429, headers: { 'retry-after': '30' } }, kind: 'rate-limited' },
  { name: 'refused with 500', behaviour: { status: 500 }, kind: 'unavailable' },
]

for (const { name, behaviour, kind } of unreadable) {
  test(`a manifest ${name}: ${kind}`, async () => {
    await using test = await start()
    await using subject = new Subject(test, {
      limits: { manifestBytes: 4096, ...(kind === 'timeout' && { stall: 40, headers: 40 }) },
    })
    test.fault(get, behaviour)
    await assert.rejects(subject.manifest('a', { digest }, neverAborted()), {
      name: 'UpstreamError',
      kind,
      upstream: 'registry.test',
    })
  })
}

test('an aborted signal rejects with its reason, before the headers and in the body', async () => {
  await using test = await start()
  await using subject = new Subject(test)
  const gate = new Gate()
  for (const behaviour of [{ gate }, { gate, gateAt: 10 }]) {
    const fault = test.fault(get, behaviour)
    const leaver = new AbortController()
    const asked = subject.manifest('a', latest, leaver.signal)
    await gate.arrived(gate.arrivals + 1)
    const reason = new Error('enough')
    leaver.abort(reason)
    await assert.rejects(asked, reason)
    fault.remove()
  }
  await assert.rejects(subject.manifest('a', latest, AbortSignal.abort(new Error('before'))), /before/)
  assert.equal(subject.restsUntil, undefined)
  assert.equal(subject.status().errors, 0)
})

type Expected = 'unchanged' | 'descriptor' | 'manifest' | undefined

const unknown = undefined
const knownByTag: KnownTag = { digest, etag: `"${digest}"` }
const knownWithoutTag: KnownTag = { digest, etag: undefined }
const outdated: KnownTag = { digest: other, etag: `"${other}"` }

const resolutions: {
  name: string
  known: KnownTag | undefined
  behaviour?: Behaviour
  options?: UpstreamOptions
  is: Expected
  asked: string
}[] = [
  { name: 'never seen', known: unknown, is: 'descriptor', asked: 'HEAD' },
  { name: 'not modified', known: knownByTag, is: 'unchanged', asked: 'HEAD' },
  { name: 'the same digest', known: knownWithoutTag, is: 'unchanged', asked: 'HEAD' },
  { name: 'moved', known: outdated, is: 'descriptor', asked: 'HEAD' },
  {
    name: 'HEAD without digest',
    known: unknown,
    behaviour: { omitHeaders: ['docker-content-digest'] },
    is: 'manifest',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD without digest, not modified',
    known: knownByTag,
    behaviour: { omitHeaders: ['docker-content-digest'], status: 200, body: 'x' },
    is: 'unchanged',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD without digest and no ETag, but the same',
    known: knownWithoutTag,
    options: { etag: 'none' },
    behaviour: { omitHeaders: ['docker-content-digest'] },
    is: 'unchanged',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD without length',
    known: unknown,
    behaviour: { omitHeaders: ['content-length'] },
    is: 'manifest',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD without length, but the same',
    known: knownWithoutTag,
    behaviour: { omitHeaders: ['content-length'] },
    is: 'unchanged',
    asked: 'HEAD',
  },
  {
    name: 'HEAD as text/plain',
    known: unknown,
    behaviour: { setHeaders: { 'content-type': 'text/plain' } },
    is: 'manifest',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD compressed',
    known: unknown,
    behaviour: { setHeaders: { 'content-encoding': 'gzip' } },
    is: 'manifest',
    asked: 'HEAD GET',
  },
  ...[401, 403, 405, 500, 503].map((headStatus) => ({
    name: `HEAD answers ${headStatus}`,
    known: unknown,
    behaviour: { headStatus },
    is: 'manifest' as const,
    asked: 'HEAD GET',
  })),
  {
    name: 'HEAD breaks the connection',
    known: unknown,
    behaviour: { instead: 'fin' },
    is: 'manifest',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD answers 404 (Nexus)',
    known: unknown,
    behaviour: { headStatus: 404 },
    is: 'manifest',
    asked: 'HEAD GET',
  },
  {
    name: 'HEAD answers 404 for what is known',
    known: knownByTag,
    behaviour: { headStatus: 404 },
    is: 'unchanged',
    asked: 'HEAD GET',
  },
  {
    name: 'not modified, and another digest',
    known: knownByTag,
    behaviour: { status: 304, body: '', headers: { 'docker-content-digest': other } },
    is: 'unchanged',
    asked: 'HEAD GET',
  },
]

for (const { name, known, behaviour, options, is, asked } of resolutions) {
  for (const auth of [undefined, { kind: 'bearer' }] as const) {
    test(`resolve: ${name}${auth ? ', with a token' : ''}`, async () => {
      await using test = await start({ ...options, ...(auth && { auth }) })
      await using subject = new Subject(test)
      if (behaviour) test.fault(head, behaviour)
      const found = await subject.resolve('a', 'latest', known, neverAborted())
      assert.equal(found?.kind, is)
      if (found?.kind === 'descriptor') {
        assert.deepEqual(found.descriptor, { digest, size, mediaType: ociManifest })
        assert.equal(found.etag, `"${digest}"`)
      }
      if (found?.kind === 'manifest') assert.deepEqual(found.manifest.body, body)
      const methods = test.requests.filter(({ kind, status }) => kind === 'manifest' && (status !== 401 || !auth))
      if (!auth) assert.equal(methods.map(({ method }) => method).join(' '), asked)
      assert.equal(subject.restsUntil, undefined)
    })
  }
}

test('a HEAD that was of no use is not sent again for a quarter of an hour', async () => {
  await using test = await start()
  await using subject = new Subject(test)
  test.fault(head, { headStatus: 405 })
  for (let round = 0; round < 3; round += 1) {
    assert.equal((await subject.resolve('a', 'latest', undefined, neverAborted()))?.kind, 'manifest')
  }
  assert.deepEqual([test.count(head), test.count(get)], [1, 3])
  subject.clock.now += 15 * 60_000 + 1
  await subject.resolve('a', 'latest', undefined, neverAborted())
  assert.equal(test.count(head), 2)
})

test('a HEAD that is refused is confirmed by one GET', async () => {
  await using test = await TestUpstream.start({ auth: { kind: 'bearer', issueTokensForAnything: true } })
  await using subject = new Subject(test)
  for (let round = 0; round < 3; round += 1) {
    await assert.rejects(subject.resolve('absent', 'latest', undefined, neverAborted()), refused)
  }
  assert.equal(test.count({ ...get, authorization: 'anonymous' }), 1)
  assert.equal(test.count({ ...head, authorization: 'anonymous' }), 3)
})

test('no GET follows a HEAD that got a 429, no answer, or Retry-After', async () => {
  const cases: { behaviour: Behaviour; kind: string }[] = [
    { behaviour: { headStatus: 429 }, kind: 'rate-limited' },
    { behaviour: { status: 503, headers: { 'retry-after': '20' } }, kind: 'unavailable' },
    { behaviour: { instead: 'silence' }, kind: 'timeout' },
  ]
  for (const { behaviour, kind } of cases) {
    await using test = await start()
    await using subject = new Subject(test, { limits: kind === 'timeout' ? { headers: 40 } : {} })
    test.fault(head, behaviour)
    await assert.rejects(subject.resolve('a', 'latest', undefined, neverAborted()), { kind })
    assert.equal(test.count(get), 0)
    assert.notEqual(subject.restsUntil, undefined)
  }
})

test('the descriptor from HEAD is that of the manifest from GET', async () => {
  await using test = await start({ etag: 'weak' })
  await using subject = new Subject(test)
  const found = await subject.resolve('a', 'latest', undefined, neverAborted())
  const named: Digest | undefined = found?.kind === 'descriptor' ? found.descriptor.digest : undefined
  assert.ok(named)
  assert.match((found?.kind === 'descriptor' && found.etag) || '', /^W\/"/)
  assert.equal((await subject.manifest('a', { digest: named }, neverAborted()))?.digest, digest)
})

test('a 404 to HEAD that does not name the API is believed where the /v2/ of its host is a registry now', async () => {
  await using test = await start()
  await using subject = new Subject(test)
  // A HEAD has found something.
  assert.equal((await subject.resolve('a', 'latest', undefined, neverAborted()))?.kind, 'descriptor')
  test.fault(head, { status: 404, body: '', headers: {} })
  const asked = async () => {
    test.reset()
    const found = await subject.resolve('a', 'latest', undefined, neverAborted())
    return [found?.kind, ...test.requests.map(({ kind, method }) => `${method} ${kind}`)]
  }
  assert.deepEqual(await asked(), [undefined, 'HEAD manifest', 'GET ping'])
  assert.deepEqual(await asked(), [undefined, 'HEAD manifest'])
  subject.clock.now += 10_001
  test.fault({ kind: 'ping' }, { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } })
  assert.deepEqual(await asked(), ['manifest', 'HEAD manifest', 'GET ping', 'GET manifest'])
})
