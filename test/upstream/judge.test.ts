import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import { ociArtifact, ociManifest, schema1, signedSchema1 } from '../../src/oci/media-type.ts'
import {
  isNotModified,
  isRegistry,
  judgeBlob,
  judgeBlobHead,
  judgeBlobProbe,
  judgeCurrency,
  judgeManifest,
  judgeManifestHead,
  judgeMissing,
  judgeRefusal,
} from '../../src/upstream/judge.ts'
import type { Headers } from '../../src/upstream/transfer/response.ts'
import type { KnownTag } from '../../src/upstream/upstream.ts'
import { image } from '../support/image.ts'
import { signedManifest } from '../support/schema1.ts'

const { body, digest } = image().manifest
const other = digestOf(Buffer.from('other'))
const tag = { tag: 'latest' }
const html = { 'content-type': 'text/html; charset=utf-8' }
const json = { 'content-type': 'application/json' }
const oci = { 'content-type': ociManifest }
const text = { 'content-type': 'text/plain' }
const page = Buffer.from('<!DOCTYPE html><title>Sign in</title>')
const named = (told: string) => ({ ...oci, 'docker-content-digest': told })
const known: KnownTag = { digest, etag: '"e"' }

/** The verdict in a word. */
function word(verdict: unknown): unknown {
  const { kind, digest: found } = verdict as { kind?: string; digest?: string }
  return kind ?? found ?? verdict
}

describe('a manifest, as GET brings it', () => {
  const cut = body.subarray(0, 100)
  const flipped = Buffer.from(body)
  flipped[60] = 0
  const signed = signedManifest('team/old', [other])
  const told = digestOf(body, 'sha512')
  const rows: [name: string, headers: Headers, body: Buffer, byTag: string, byDigest: string][] = [
    ['whole', named(digest), body, digest, digest],
    ['without a digest header', oci, body, digest, digest],
    ['with an empty digest header', named(''), body, digest, digest],
    ['as text that is JSON', { ...text, 'docker-content-digest': digest }, body, digest, digest],
    ['with a sha512 digest', named(told), body, told, digest],
    ['with a wrong sha512 digest', named(digestOf(page, 'sha512')), body, 'protocol', 'protocol'],
    ['with the digest of something else', named(other), body, 'protocol', 'protocol'],
    ['with a digest that is none', named('md5:abc'), body, 'protocol', digest],
    ['flipped', named(digest), flipped, 'protocol', 'protocol'],
    ['cut', named(digest), cut, 'protocol', 'protocol'],
    ['cut, without a digest header', oci, cut, 'protocol', 'protocol'],
    ['empty', named(digest), Buffer.alloc(0), 'protocol', 'protocol'],
    ['empty, without a digest header', {}, Buffer.alloc(0), 'protocol', 'protocol'],
    ['an HTML page', html, page, 'unavailable', 'unavailable'],
    [
      'a manifest that calls itself HTML',
      { ...html, 'docker-content-digest': digest },
      body,
      'unavailable',
      'unavailable',
    ],
    ['text', text, Buffer.from('no healthy upstream'), 'unavailable', 'unavailable'],
    ['text that calls itself a manifest', oci, Buffer.from('no healthy upstream'), 'protocol', 'protocol'],
    ['JSON that is no manifest', json, Buffer.from('{"hello":1}'), 'protocol', 'protocol'],
    ['JSON with a field of a manifest', json, Buffer.from('{"config":{}}'), 'protocol', 'protocol'],
    ['an error list that calls itself a manifest', oci, Buffer.from('{"errors":[]}'), 'protocol', 'protocol'],
    ['a list', json, Buffer.from('[]'), 'protocol', 'protocol'],
    ['an empty object of a known type', oci, Buffer.from('{}'), 'protocol', 'protocol'],
    [
      'signed schema 1',
      { 'content-type': signedSchema1, 'docker-content-digest': signed.digest },
      signed.body,
      signed.digest,
      'protocol',
    ],
    [
      'signed schema 1 without a digest header',
      { 'content-type': signedSchema1 },
      signed.body,
      signed.digest,
      'protocol',
    ],
    [
      'signed schema 1 with another digest',
      { 'content-type': signedSchema1, 'docker-content-digest': other },
      signed.body,
      'protocol',
      'protocol',
    ],
  ]
  for (const [name, headers, bytes, byTag, byDigest] of rows) {
    it(`${name}: by tag ${byTag.slice(0, 11)}, by digest ${byDigest.slice(0, 11)}`, () => {
      assert.equal(word(judgeManifest(headers, bytes, tag)), byTag)
      assert.equal(word(judgeManifest(headers, bytes, { digest })), byDigest)
    })
  }

  it('is signed where its digest is not that of its bytes, and not where it is', () => {
    const by = (told: string) => judgeManifest({ 'docker-content-digest': told }, signed.body, tag)
    assert.deepEqual(by(signed.digest), { digest: signed.digest, mediaType: signedSchema1, signed: true })
    const own = digestOf(signed.body)
    assert.deepEqual(by(own), { digest: own, mediaType: signedSchema1, signed: false })
    const refusal = judgeManifest({}, signed.body, { digest: signed.digest })
    assert.match('what' in refusal ? refusal.what : '', /signed schema 1/)
  })

  it('needs a schema version or a type that is known', () => {
    const artifact = Buffer.from('{"artifactType":"a/b","blobs":[]}')
    assert.equal(word(judgeManifest({ 'content-type': ociArtifact }, artifact, tag)), digestOf(artifact))
    assert.equal(word(judgeManifest({ 'content-type': 'application/vnd.unknown+json' }, artifact, tag)), 'protocol')
    const unsigned = Buffer.from('{"schemaVersion":1,"fsLayers":[]}')
    const judged = judgeManifest(text, unsigned, tag)
    assert.deepEqual(judged, { digest: digestOf(unsigned), mediaType: schema1, signed: false })
  })

  it('is judged whatever it is, and never served as HTML', () => {
    const type = fc.constantFrom(
      'text/html',
      'TEXT/HTML;x',
      'text/plain',
      ociManifest,
      'application/json',
      '',
      'a\r\nb',
    )
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((value) => Buffer.from(value)),
    )
    fc.assert(
      fc.property(type, fc.option(fc.string()), bytes, (contentType, told, sent) => {
        const headers = { 'content-type': contentType, ...(told !== null && { 'docker-content-digest': told }) }
        const judged = judgeManifest(headers, Buffer.from(sent), tag)
        if ('mediaType' in judged) assert.doesNotMatch(judged.mediaType, /html/i)
      }),
    )
  })
})

describe('a manifest, as HEAD tells it', () => {
  const told = { ...named(other), 'content-length': '10', etag: '"o"' }
  const rows: [name: string, status: number, headers: Headers, known: KnownTag | undefined, verdict: string][] = [
    ['something new', 200, told, known, other],
    ['something new, never seen', 200, told, undefined, other],
    ['the same digest', 200, { ...told, 'docker-content-digest': digest }, known, 'unchanged'],
    ['a page with the length of a page', 200, { ...html, 'content-length': '1234' }, known, 'unclear'],
    ['a page with the right digest', 200, { ...html, 'docker-content-digest': digest }, known, 'unclear'],
    ['no digest', 200, { ...oci, 'content-length': '10' }, known, 'unclear'],
    ['no length', 200, named(other), known, 'unclear'],
    ['text', 200, { ...told, ...text }, known, 'unclear'],
    ['schema 1', 200, { ...told, 'content-type': signedSchema1 }, known, 'unclear'],
    ['not modified', 304, {}, known, 'unchanged'],
    ['not modified, with the digest', 304, { 'docker-content-digest': digest }, known, 'unchanged'],
    ['not modified, with another digest', 304, { 'docker-content-digest': other }, known, 'contradicted'],
    ['not modified, though no ETag was sent', 304, {}, { digest, etag: undefined }, 'contradicted'],
    ['not there', 404, json, known, 'missing'],
    [
      'not there, by the version of the API',
      404,
      { 'docker-distribution-api-version': 'registry/2.0' },
      known,
      'missing',
    ],
    ['not there, in HTML', 404, html, known, 'unclear'],
    ['not there, in text', 404, text, known, 'unclear'],
    ['not there, and nothing else', 404, {}, known, 'missing'],
    ['not allowed', 405, {}, known, 'unclear'],
  ]
  for (const [name, status, headers, before, verdict] of rows) {
    it(`${name}: ${verdict.slice(0, 12)}`, () => {
      assert.equal(word(judgeManifestHead({ status, headers }, tag, before)), verdict)
    })
  }

  it('keeps an ETag with the digest that it came with', () => {
    const verdict = judgeManifestHead({ status: 200, headers: told }, tag, known)
    assert.deepEqual(verdict, { digest: other, mediaType: ociManifest, size: 10, etag: '"o"' })
    assert.equal(isNotModified({}, { digest, etag: undefined }), false)
  })

  it('of a digest tells of no other', () => {
    assert.equal(judgeManifestHead({ status: 200, headers: told }, { digest }, undefined), 'unclear')
  })
})

describe('a 404', () => {
  const rows: [name: string, headers: Headers, body: string, verdict: string][] = [
    ['with an error of the registry', json, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', 'absent'],
    ['with an error without a code', json, '{"errors":[{"message":"not found"}]}', 'absent'],
    ['with an empty list of errors', json, '{"errors":[]}', 'absent'],
    ['with an error, as text', text, '{"errors":[{"code":"NAME_UNKNOWN"}]}', 'absent'],
    ['with an HTML page', html, '<html>404</html>', 'unavailable'],
    ['with an empty HTML page', html, '', 'unavailable'],
    ['with text', text, '404 page not found', 'unavailable'],
    ['with XML', { 'content-type': 'application/xml' }, '<Error><Code>NoSuchKey</Code></Error>', 'unavailable'],
    ['with JSON of something else', json, '{"message":"no Route matched"}', 'ask'],
    ['with errors that are no list', json, '{"errors":"none"}', 'ask'],
    ['with nothing', {}, '', 'ask'],
    ['with text and nothing else', text, '', 'ask'],
    ['with an HTML page and a challenge', { ...html, 'www-authenticate': 'Basic' }, '<html>404</html>', 'ask'],
  ]
  for (const [name, headers, sent, verdict] of rows) {
    it(`${name}: ${verdict}`, () => assert.equal(word(judgeMissing(headers, Buffer.from(sent))), verdict))
  }
})

describe('the answer to /v2/', () => {
  const rows: [name: string, status: number, headers: Headers, is: boolean][] = [
    ['200 with JSON', 200, json, true],
    ['200 with the version of the API', 200, { ...text, 'docker-distribution-api-version': 'registry/2.0' }, true],
    ['200 without a type', 200, {}, true],
    ['a challenge', 401, { ...html, 'www-authenticate': 'Bearer realm="https://a/token"' }, true],
    ['401 without a challenge', 401, json, false],
    ['200 with a page', 200, html, false],
    ['200 with text', 200, text, false],
    ['404', 404, json, false],
    ['503', 503, json, false],
    ['a redirect', 302, {}, false],
  ]
  for (const [name, status, headers, is] of rows) {
    it(`${name}: ${is ? 'a registry' : 'none'}`, () => assert.equal(isRegistry({ status, headers }), is))
  }
})

describe('a 403', () => {
  const challenge = { 'www-authenticate': 'Bearer realm="https://a/token"' }
  const rows: [name: string, status: number, headers: Headers, verdict: string][] = [
    ['in HTML', 403, html, 'page'],
    ['in text', 403, text, 'text'],
    ['in JSON', 403, json, 'refusal'],
    ['in HTML, with a challenge', 403, { ...html, ...challenge }, 'refusal'],
    ['that is a 401 in HTML', 401, html, 'refusal'],
    ['that is a redirect in HTML', 307, html, 'refusal'],
  ]
  for (const [name, status, headers, verdict] of rows) {
    it(`${name}: ${verdict}`, () => assert.equal(judgeRefusal({ status, headers }), verdict))
  }
})

describe('a blob, as GET brings it', () => {
  const length = { 'content-length': '1000' }
  const part = { 'content-length': '10', 'content-range': 'bytes 0-9/1000' }
  const rows: [name: string, status: number, headers: Headers, expected: number | undefined, verdict: unknown][] = [
    ['of the length of its descriptor', 200, length, 1000, 1000],
    ['without a descriptor', 200, length, undefined, 1000],
    ['without a length', 200, {}, 1000, undefined],
    ['of another length', 200, length, 999, 'protocol'],
    ['in HTML of its length', 200, { ...length, ...html }, 1000, 1000],
    ['in HTML of another length', 200, { ...length, ...html }, 999, 'protocol'],
    ['in HTML without a length', 200, html, 1000, 'protocol'],
    ['in HTML without a descriptor', 200, { ...length, ...html }, undefined, 'protocol'],
    ['as text', 200, { ...length, ...text }, 1000, 1000],
    ['labelled gzip, and of its length', 200, { ...length, 'content-encoding': 'gzip' }, 1000, 1000],
    ['labelled aws-chunked, and of its length', 200, { ...length, 'content-encoding': 'aws-chunked' }, 1000, 1000],
    ['labelled gzip, and of another length', 200, { ...length, 'content-encoding': 'gzip' }, 2000, 'protocol'],
    ['labelled gzip, without a descriptor', 200, { ...length, 'content-encoding': 'gzip' }, undefined, 'protocol'],
    ['labelled gzip, without a length', 200, { 'content-encoding': 'gzip' }, 1000, 'protocol'],
    ['labelled identity', 200, { ...length, 'content-encoding': 'identity' }, undefined, 1000],
    ['a part of it', 206, part, 1000, 1000],
    ['a part of it, in HTML', 206, { ...part, ...html }, undefined, 1000],
    ['a part of it, labelled gzip', 206, { ...part, 'content-encoding': 'gzip' }, 1000, 1000],
    ['a part of something else', 206, part, 999, 'protocol'],
  ]
  for (const [name, status, headers, expected, verdict] of rows) {
    it(`${name}: ${verdict}`, () => {
      const judged = judgeBlob({ status, headers }, expected)
      assert.equal('what' in judged ? judged.kind : judged.size, verdict)
    })
  }

  it('is told by HEAD, unless that is a page, coded, without a length, or with another digest', () => {
    const rows: [status: number, headers: Headers, verdict: unknown][] = [
      [200, length, 1000],
      [200, {}, 'unclear'],
      [200, { ...length, ...html }, 'unclear'],
      [200, { ...length, 'content-encoding': 'gzip' }, 'unclear'],
      [404, { ...length, ...json }, 'missing'],
      [404, { ...length, ...html }, 'unclear'],
      [200, { ...length, 'docker-content-digest': digest }, 1000],
      [200, { ...length, 'docker-content-digest': other }, 'unclear'],
      [200, { ...length, 'docker-content-digest': digestOf(body, 'sha512') }, 1000],
      [404, text, 'unclear'],
      [404, {}, 'missing'],
      [405, length, 'unclear'],
    ]
    for (const [status, headers, verdict] of rows) assert.equal(judgeBlobHead({ status, headers }, digest), verdict)
  })

  it('is told by a GET of one byte, unless a page ignores the range, or the digest is another one', () => {
    const rows: [status: number, headers: Headers, verdict: unknown][] = [
      [206, { ...part, 'content-encoding': 'gzip' }, 1000],
      [206, { ...part, 'docker-content-digest': other }, 'protocol'],
      [200, length, 1000],
      [200, { ...length, ...html }, 'protocol'],
      [200, { ...length, 'docker-content-digest': other }, 'protocol'],
    ]
    for (const [status, headers, verdict] of rows) {
      const judged = judgeBlobProbe({ status, headers }, digest)
      assert.equal('what' in judged ? judged.kind : judged.size, verdict)
    }
  })
})

describe('how current an answer is', () => {
  const own = '299 - "stale: answered from a cache that could not confirm it"'
  const rows: [name: string, headers: Headers, age: number, warning: string | undefined][] = [
    ['says nothing', {}, 0, undefined],
    ['says its age', { age: '61' }, 61_000, undefined],
    ['says no age that is one', { age: '-5' }, 0, undefined],
    ['was stale, and says why', { warning: '299 - "stale: away"', age: '9' }, 9000, '299 - "stale: away"'],
    ['was stale, among other warnings', { warning: ['110 - "old"', '299 - "stale"'] }, 0, '299 - "stale"'],
    ['has another warning', { warning: '199 - "rain"' }, 0, undefined],
    ['was past its time', { 'cache-status': 'entrepot; hit; ttl=-412; detail=stale' }, 0, own],
    ['was past its time further away', { 'cache-status': ['edge; hit; ttl=5', 'far; hit;ttl=-1'] }, 0, own],
    ['was within its time', { 'cache-status': 'entrepot; hit; ttl=12' }, 0, undefined],
    ['was confirmed', { 'cache-status': 'entrepot; fwd=stale; fwd-status=304' }, 0, undefined],
    ['speaks of a ttl', { 'cache-status': 'far; hit; detail="x; ttl=-1"' }, 0, undefined],
    ['has a warning that no header can carry', { warning: '299 - "\u{1F600}"' }, 0, own],
  ]
  for (const [name, headers, age, warning] of rows) {
    it(name, () => assert.deepEqual(judgeCurrency(headers), { age, warning }))
  }
})
