import assert from 'node:assert/strict'
import { validateHeaderValue } from 'node:http'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { Link, TagRecord } from '../../src/metadata/metadata-store.ts'
import { parseAccess, parseHolding, parseImage, parseLink, parseTag } from '../../src/metadata/records.ts'
import { algorithms, digestOf, parseDigest } from '../../src/oci/digest.ts'

const digest = digestOf(Buffer.from('one'))
const tag: TagRecord = { digest, mediaType: 'application/x', size: 5, etag: '"v1"', checkedAt: 1_700_000_000_000 }
const link: Link = { kind: 'blob', digest, size: 5, mediaType: 'application/x', visibility: 'public' }
const image = { ...tag, repository: 'docker.io/library/alpine', tag: '3.20' }
const holding = { repository: 'docker.io/library/alpine', kind: 'blob', digest } as const

const digests = fc
  .tuple(fc.string(), fc.constantFrom(...algorithms))
  .map(([text, by]) => digestOf(Buffer.from(text), by))
const whole = fc.maxSafeNat()
const mediaTypes = fc.constantFrom('application/x', 'application/vnd.oci.image.manifest.v1+json', 'A/b')
const etags = fc.option(fc.constantFrom('', '"v1"', 'W/"\u00fc"', 'v 1'), { nil: undefined })
const plain = { noNullPrototype: true }
const tags = fc.record({ digest: digests, mediaType: mediaTypes, size: whole, etag: etags, checkedAt: whole }, plain)
const links = fc.record(
  {
    kind: fc.constantFrom<Link['kind'][]>('manifest', 'blob'),
    digest: digests,
    size: fc.option(whole, { nil: undefined }),
    mediaType: mediaTypes,
    visibility: fc.constantFrom<Link['visibility'][]>('public', 'unproven'),
  },
  plain,
)

/** Anything that JSON, Redis or SQLite may hold, and what is nearly right. */
const anything = fc.oneof(
  fc.anything({ withBigInt: true }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom<unknown>(
    digest,
    'application/x',
    'a/b\r\nx: y',
    '5',
    '-5',
    '1e400',
    '0x10',
    ' 5',
    5n,
    2n ** 60n,
    Number.NaN,
  ),
)

function raw<Value extends object>(good: Value): fc.Arbitrary<Record<string, unknown>> {
  const fields = Object.entries(good).map(([name, value]) => [name, fc.oneof(fc.constant(value), anything)] as const)
  return fc.record(Object.fromEntries(fields), { requiredKeys: [] })
}

function isWhole(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

/** As Redis has it, and as SQLite does. */
function asText(record: object): Record<string, unknown> {
  const fields = Object.entries(record).filter(([, value]) => value !== undefined)
  return Object.fromEntries(fields.map(([name, value]) => [name, String(value)]))
}

function asRow(record: object): Record<string, unknown> {
  const stored = (value: unknown) => (typeof value === 'number' ? BigInt(value) : (value ?? null))
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, stored(value)]))
}

suite('A record', () => {
  test('comes back as it was written, as text and as a row', () => {
    fc.assert(
      fc.property(tags, (record) => {
        for (const written of [record, asText(record), asRow(record)]) assert.deepEqual(parseTag(written), record)
      }),
    )
    fc.assert(
      fc.property(links, (record) => {
        for (const written of [record, asText(record), asRow(record)]) assert.deepEqual(parseLink(written), record)
      }),
    )
    assert.deepEqual(parseAccess(asRow({ digest, size: 0, at: -5 })), { digest, size: 0, at: -5 })
    const { size: _size, etag: _etag, ...listed } = image
    assert.deepEqual(parseImage(asRow(image)), listed)
    assert.deepEqual(parseHolding(asRow(holding)), holding)
  })

  test('of whatever fields is absent, or has what may be used in headers, sums and comparisons', () => {
    fc.assert(
      fc.property(raw(tag), (fields) => {
        const parsed = parseTag(fields)
        if (!parsed) return
        assert.equal(parseDigest(parsed.digest), parsed.digest)
        validateHeaderValue('content-type', parsed.mediaType)
        if (parsed.etag !== undefined) validateHeaderValue('if-none-match', parsed.etag)
        assert.ok(isWhole(parsed.size) && isWhole(parsed.checkedAt))
      }),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(raw(link), (fields) => {
        const parsed = parseLink(fields)
        if (!parsed) return
        assert.equal(parseDigest(parsed.digest), parsed.digest)
        validateHeaderValue('content-type', parsed.mediaType)
        assert.ok(parsed.size === undefined || isWhole(parsed.size))
        assert.match(parsed.kind, /^(manifest|blob)$/)
        assert.match(parsed.visibility, /^(public|unproven)$/)
      }),
      { numRuns: 2000 },
    )
    fc.assert(fc.property(raw({ digest, size: 1, at: 1 }), (fields) => void parseAccess(fields)))
    fc.assert(fc.property(raw(image), (fields) => void parseImage(fields)))
    fc.assert(fc.property(raw(holding), (fields) => void parseHolding(fields)))
  })

  const text = ['', ' ', 'x', 'NaN', '1e3', '0x10', '1.5', '9007199254740992', '-1', ' 1', '1\n', '١']
  const numbers: readonly unknown[] = [
    ...text.slice(1),
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    2n ** 63n,
    true,
    [5],
    {},
  ]
  const types = [
    '',
    'text',
    'a/',
    '/b',
    'a/b\r\nset-cookie: c',
    'a/b\n',
    'a/b; c=d',
    'a b/c',
    'ä/b',
    'a/\u0130',
    `a/${'b'.repeat(200)}`,
    null,
    5,
  ]
  const names = [
    '',
    'alpine',
    'docker.io',
    'docker.io/',
    '/a',
    'docker.io/a/../b',
    'docker.io/A',
    'a/b',
    'docker.io/a\n',
    'docker.io//a',
    '__proto__',
    `docker.io/${'a'.repeat(300)}`,
  ]
  const wrong: readonly [what: string, values: readonly unknown[], parse: (value: unknown) => unknown][] = [
    [
      'digest',
      ['', 'sha256:', 'sha256:00', 'md5:0', `${digest}0`, digest.toUpperCase(), `${digest}\n`, null, 5],
      (value) =>
        parseTag({ ...tag, digest: value }) ??
        parseLink({ ...link, digest: value }) ??
        parseAccess({ digest: value, size: 1, at: 1 }),
    ],
    [
      'media type',
      types,
      (value) => parseTag({ ...tag, mediaType: value }) ?? parseLink({ ...link, mediaType: value }),
    ],
    [
      'size',
      [...numbers, '', null, undefined],
      (value) => parseTag({ ...tag, size: value }) ?? parseAccess({ digest, size: value, at: 1 }),
    ],
    ['size of a link', numbers, (value) => parseLink({ ...link, size: value })],
    ['time', [...numbers, '', null, undefined], (value) => parseTag({ ...tag, checkedAt: value })],
    [
      'time of an access',
      ['x', '', null, 1.5, 2 ** 53, -(2n ** 63n)],
      (value) => parseAccess({ digest, size: 1, at: value }),
    ],
    ['visibility', ['', 'secret', 'Public', null, true], (value) => parseLink({ ...link, visibility: value })],
    [
      'kind',
      ['', 'tag', null],
      (value) => parseLink({ ...link, kind: value }) ?? parseHolding({ ...holding, kind: value }),
    ],
    [
      'repository',
      names,
      (value) => parseImage({ ...image, repository: value }) ?? parseHolding({ ...holding, repository: value }),
    ],
    ['tag', ['', '-a', 'a b', 'a\n', 'ä', 'a'.repeat(129)], (value) => parseImage({ ...image, tag: value })],
    [
      'etag',
      ['a\r\nb', 'a\n', '\0', '\x7f', '"倉"', 'x'.repeat(1025), 5],
      (value) => parseTag({ ...tag, etag: value })?.etag,
    ],
  ]
  for (const [what, values, parse] of wrong) {
    test(`has no wrong ${what}`, () => {
      for (const value of values) assert.equal(parse(value), undefined, JSON.stringify(String(value)))
    })
  }
})
