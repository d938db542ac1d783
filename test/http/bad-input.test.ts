import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { errorCodes } from '../../src/oci/error.ts'
import { get, type Received } from '../support/client.ts'
import { image } from '../support/image.ts'
import { Stage } from '../support/stage.ts'

const added = image()
const { digest } = added.manifest
const blob = added.config.digest
const hex = digest.slice('sha256:'.length)
const prefix = '/v2/library/alpine'

async function start(): Promise<Stage> {
  const stage = await Stage.start({ config: { log: { level: 'silent' } } })
  stage.upstream.addImage('library/alpine', 'latest', added)
  return stage
}

/** The envelope of an error, and nothing that tells of our inside. */
function assertEnvelope(answer: Received, what: string): string {
  assert.equal(answer.headers['content-type'], 'application/json', what)
  assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0', what)
  assert.equal(answer.headers['x-content-type-options'], 'nosniff', what)
  const { errors } = answer.json<{ errors: { code: string; message: string }[] }>()
  assert.equal(errors.length, 1, what)
  const code = errors[0]?.code ?? ''
  assert.ok(Object.hasOwn(errorCodes, code), what)
  assert.ok(answer.bytes < 2000, what)
  assert.doesNotMatch(answer.text(), /\bat .*:\d+:\d+|\.ts\b|node:/, what)
  return code
}

const manifests: readonly (readonly [reference: string, status: number, code: string])[] = [
  ['.INVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN'], // as the conformance suite has it
  ['sha256:totallywrong', 404, 'MANIFEST_UNKNOWN'],
  ['sha256:', 404, 'MANIFEST_UNKNOWN'],
  [':', 404, 'MANIFEST_UNKNOWN'],
  [`sha256:${hex.toUpperCase()}`, 404, 'MANIFEST_UNKNOWN'],
  [`sha256:${hex}0`, 404, 'MANIFEST_UNKNOWN'],
  [`sha256:${hex.slice(1)}`, 404, 'MANIFEST_UNKNOWN'],
  [`sha512:${hex}`, 404, 'MANIFEST_UNKNOWN'],
  [`md5:${hex}`, 404, 'MANIFEST_UNKNOWN'],
  ['-latest', 404, 'MANIFEST_UNKNOWN'],
  ['a'.repeat(129), 404, 'MANIFEST_UNKNOWN'],
  ['a'.repeat(8000), 404, 'MANIFEST_UNKNOWN'],
  ['lat%00est', 404, 'MANIFEST_UNKNOWN'],
  ['lat%20est', 404, 'MANIFEST_UNKNOWN'],
  ['lat%2Fest', 404, 'MANIFEST_UNKNOWN'],
  ['%2e%2e', 404, 'MANIFEST_UNKNOWN'],
  ['..', 404, 'MANIFEST_UNKNOWN'],
  ['latest%0a', 404, 'MANIFEST_UNKNOWN'],
  ['l%C3%A4test', 404, 'MANIFEST_UNKNOWN'],
  ['lat%est', 400, 'NAME_INVALID'],
  ['%ff', 400, 'NAME_INVALID'],
  ['latest;jsessionid=1', 404, 'MANIFEST_UNKNOWN'],
]

const blobs: typeof manifests = [
  ['latest', 400, 'DIGEST_INVALID'],
  ['sha256:totallywrong', 400, 'DIGEST_INVALID'],
  [`sha256:${hex.toUpperCase()}`, 400, 'DIGEST_INVALID'],
  [`md5:${hex}`, 400, 'DIGEST_INVALID'],
  [`sha256:${hex}%00`, 400, 'DIGEST_INVALID'],
  ['..%2f..%2fetc%2fpasswd', 400, 'DIGEST_INVALID'],
  ['%', 400, 'NAME_INVALID'],
]

const names: readonly (readonly [name: string, status: number, code: string])[] = [
  ['Alpine', 400, 'NAME_INVALID'],
  ['a//b', 400, 'NAME_INVALID'],
  ['a/../b', 400, 'NAME_INVALID'],
  ['a/%2e%2e/b', 400, 'NAME_INVALID'],
  ['a%2Fb', 400, 'NAME_INVALID'],
  ['a%00b', 400, 'NAME_INVALID'],
  ['a%zzb', 400, 'NAME_INVALID'],
  ['a'.repeat(256), 400, 'NAME_INVALID'],
  ['a/'.repeat(4000), 400, 'NAME_INVALID'],
  ['-a', 400, 'NAME_INVALID'],
  ['a__', 400, 'NAME_INVALID'],
  ['docker.io', 400, 'NAME_INVALID'],
  ['..', 403, 'DENIED'],
  ['evil.example/a', 403, 'DENIED'],
  ['localhost/a', 403, 'DENIED'],
]

describe('bad input', () => {
  it('in a reference, a digest or a name is told as what it is', async () => {
    await using stage = await start()
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const asks = [
      ...manifests.map(([reference, ...is]) => [`${prefix}/manifests/${reference}`, ...is] as const),
      ...blobs.map(([reference, ...is]) => [`${prefix}/blobs/${reference}`, ...is] as const),
      ...names.map(([name, ...is]) => [`/v2/${name}/manifests/latest`, ...is] as const),
      ...names.map(([name, ...is]) => [`/v2/${name}/blobs/${blob}`, ...is] as const),
    ]
    for (const [path, status, code] of asks) {
      const answer = await get(stage.mirror.url, { path, agent })
      const what = path.slice(0, 100)
      assert.deepEqual([answer.status, assertEnvelope(answer, what)], [status, code], what)
    }
    agent.destroy()
    assert.equal(stage.upstream.count(), 0)
  })

  it('in a range is ignored where it is none, and told where it is outside or more than one', async () => {
    await using stage = await start()
    const path = `${prefix}/blobs/${blob}`
    await stage.get(path)
    const { size } = added.config
    const cases: readonly (readonly [range: string, status: number, contentRange?: string])[] = [
      ['bytes=0-', 206, `bytes 0-${size - 1}/${size}`],
      ['bytes=0-999999', 206, `bytes 0-${size - 1}/${size}`],
      [`bytes=0-${size}`, 206, `bytes 0-${size - 1}/${size}`], // regclient: one past the end
      ['bytes=-5', 206, `bytes ${size - 5}-${size - 1}/${size}`],
      ['bytes=-999999', 206, `bytes 0-${size - 1}/${size}`],
      ['BYTES=1-1', 206, `bytes 1-1/${size}`],
      [`bytes=${size}-`, 416, `bytes */${size}`],
      ['bytes=-0', 416, `bytes */${size}`],
      ['bytes=999999-9999999', 416, `bytes */${size}`],
      ['bytes=0-1,3-4', 400],
      ['bytes=0-0,-1', 400],
      [`bytes=${'0-0,'.repeat(2000)}1-1`, 400],
      ['bytes=5-1', 200],
      ['bytes=', 200],
      ['bytes=a-b', 200],
      ['bytes=-', 200],
      ['bytes=1', 200],
      ['bytes=1-2-3', 200],
      ['bytes=0-99999999999999999999', 200],
      ['items=0-1', 200],
      ['bytes 0-1', 200],
      ['0-1', 200],
      ['bytes=0x1-2', 200],
    ]
    for (const [range, status, contentRange] of cases) {
      const what = range.slice(0, 50)
      const answer = await stage.get(path, { headers: { range } })
      assert.deepEqual([answer.status, answer.headers['content-range']], [status, contentRange], what)
      if (status >= 400) assertEnvelope(answer, what)
      else assert.equal(answer.complete, true, what)
      const head = await stage.get(path, { method: 'HEAD', headers: { range } })
      assert.deepEqual([head.status, head.headers['content-length']], [200, String(size)], what)
    }
    for (const [ifRange, status] of [
      [`"${blob}"`, 206],
      [`W/"${blob}"`, 200],
      ['"other"', 200],
      ['Thu, 01 Jan 2026 00:00:00 GMT', 200],
    ] as const) {
      const answer = await stage.get(path, { headers: { range: 'bytes=0-1', 'if-range': ifRange } })
      assert.equal(answer.status, status, ifRange)
    }
  })

  it('in headers and queries does no harm', async () => {
    await using stage = await start()
    for (const headers of [
      { accept: 'application/json' },
      { accept: '' },
      { accept: ',,;q=x' },
      { 'accept-encoding': 'br, gzip' },
      { authorization: 'Bearer nonsense' },
      { authorization: 'Basic !!!' },
      { 'if-modified-since': 'yesterday' },
      { 'if-none-match': 'a'.repeat(4000) },
      { range: 'bytes=1-2' },
      { 'content-length': '0' },
      { host: 'evil.example' },
      { 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' },
      { cookie: 'a=b' },
      Object.fromEntries(Array.from({ length: 90 }, (_, at) => [`x-${at}`, 'y'])),
    ]) {
      const answer = await stage.get(`${prefix}/manifests/latest`, { headers })
      assert.deepEqual([answer.status, answer.digest], [200, digest], JSON.stringify(headers).slice(0, 80))
      assert.equal(answer.headers['content-encoding'], undefined)
    }
    for (const query of [
      '?',
      '?&',
      '?ns',
      '?ns=',
      '?a=%',
      '?%00=%00',
      '?n=1&n=2',
      `?x=${'y'.repeat(8000)}`,
      '?a?b?c',
    ]) {
      const answer = await stage.get('/', { path: `${prefix}/manifests/latest${query}` })
      assert.deepEqual([answer.status, answer.digest], [200, digest], query.slice(0, 20))
    }
  })

  it('of any kind is never our fault, and never our end', async () => {
    await using stage = await start()
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const piece = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom('v2', 'manifests', 'blobs', 'library', 'alpine', 'latest', digest, blob),
      },
      {
        weight: 2,
        arbitrary: fc.constantFrom('tags', 'list', 'referrers', 'docker.io', '..', '.', '', 'evil.example'),
      },
      { weight: 2, arbitrary: fc.constantFrom('%00', '%2F', '%', '%ff', '%2e%2e', `sha256:${hex.slice(1)}`, 'A') },
      fc.stringMatching(/^[!"$-~]{0,12}$/),
      fc.webSegment(),
    )
    const path = fc.oneof(
      fc.array(piece, { maxLength: 7 }).map((pieces) => `/${pieces.join('/')}`),
      fc.tuple(fc.constantFrom('manifests', 'blobs'), piece).map(([kind, last]) => `${prefix}/${kind}/${last}`),
    )
    const query = fc.oneof(
      fc.constant(''),
      fc.webQueryParameters().map((text) => `?${text}`),
      piece.map((text) => `?ns=${text}`),
    )
    const value = fc.oneof(
      fc.stringMatching(/^[ -~]{0,20}$/),
      fc.constantFrom('bytes=0-', 'bytes=-1', 'bytes=9-2', 'bytes=0-1,2-3', `"${digest}"`, '*', '*/*', 'close'),
    )
    const name = fc.constantFrom(
      'range',
      'if-range',
      'if-none-match',
      'accept',
      'accept-encoding',
      'expect',
      'user-agent',
    )
    const headers = fc.dictionary(name, value, { maxKeys: 3 })
    const method = fc.oneof(
      { weight: 8, arbitrary: fc.constant('GET') },
      fc.constantFrom('HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'QUERY'),
    )
    await fc.assert(
      fc.asyncProperty(path, query, headers, method, async (pathname, search, fields, verb) => {
        const answer = await get(stage.mirror.url, {
          path: `${pathname}${search}`,
          headers: fields,
          method: verb,
          agent,
        })
        const what = JSON.stringify({ verb, pathname, search, fields, status: answer.status })
        assert.ok(answer.status >= 200 && answer.status < 500, what)
        if (verb === 'HEAD') assert.equal(answer.bytes, 0, what)
        else if (answer.status >= 400) assertEnvelope(answer, what)
        else assert.equal(answer.complete, true, what)
      }),
      { numRuns: 3000 },
    )
    agent.destroy()
    assert.equal((await stage.get(`${prefix}/manifests/latest`)).digest, digest)
  })
})
