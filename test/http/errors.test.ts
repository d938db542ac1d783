import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { errorAnswer } from '../../src/http/errors.ts'
import {
  ContentMismatch,
  type ErrorCode,
  errorCodes,
  RegistryError,
  UpstreamError,
  type UpstreamErrorKind,
} from '../../src/oci/error.ts'

const statuses: Readonly<Record<ErrorCode, number>> = {
  BLOB_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  RANGE_INVALID: 416,
  RANGES_UNSUPPORTED: 400,
  TOOMANYREQUESTS: 429,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
  UPSTREAM_INVALID: 502,
  UPSTREAM_TIMEOUT: 504,
}

const upstreamKinds: Readonly<Record<UpstreamErrorKind, { readonly code: ErrorCode; readonly retryAfter: string }>> = {
  unreachable: { code: 'UNAVAILABLE', retryAfter: '5' },
  unavailable: { code: 'UNAVAILABLE', retryAfter: '5' },
  denied: { code: 'UNAVAILABLE', retryAfter: '5' },
  timeout: { code: 'UPSTREAM_TIMEOUT', retryAfter: '5' },
  'rate-limited': { code: 'TOOMANYREQUESTS', retryAfter: '60' },
  protocol: { code: 'UPSTREAM_INVALID', retryAfter: '' },
}

interface Told {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly code: string
  readonly message: string
  readonly detail: unknown
}

function tell(error: unknown): Told {
  const { status, headers: fields, body } = errorAnswer(error)
  const pairs = fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1] ?? ''] as const] : []))
  const headers = Object.fromEntries(pairs)
  const { errors, ...others } = JSON.parse(body.toString()) as { errors: Omit<Told, 'status' | 'headers'>[] }
  assert.deepEqual([errors.length, Object.keys(others)], [1, []])
  assert.equal(headers['Content-Type'], 'application/json')
  const [{ code, message, detail } = { code: '', message: '', detail: undefined }] = errors
  return { status, headers, code, message, detail }
}

describe('an error', () => {
  it('has a status for every code, and no other code', () => {
    assert.deepEqual(Object.keys(errorCodes).sort(), Object.keys(statuses).sort())
  })

  for (const [code, status] of Object.entries(statuses) as [ErrorCode, number][]) {
    it(`${code} is ${status}`, () => {
      const told = tell(new RegistryError(code, { detail: { size: 7 } }))
      assert.deepEqual([told.status, told.code, told.message], [status, code, errorCodes[code].message])
      assert.deepEqual(told.detail, { size: 7 })
      assert.equal('Retry-After' in told.headers, [429, 503, 504].includes(status))
      assert.equal(told.headers['Allow'], status === 405 ? 'GET, HEAD' : undefined)
      assert.equal(told.headers['Content-Range'], status === 416 ? 'bytes */7' : undefined)
    })
  }

  for (const [kind, { code, retryAfter }] of Object.entries(upstreamKinds) as [
    UpstreamErrorKind,
    { code: ErrorCode; retryAfter: string },
  ][]) {
    it(`of an upstream, ${kind}, is ${code}, and its status stays inside`, () => {
      const told = tell(new UpstreamError('docker.io', kind, 'it failed', { status: 418 }))
      assert.deepEqual([told.status, told.code], [statuses[code], code])
      assert.equal(told.headers['Retry-After'] ?? '', retryAfter)
      assert.equal(told.detail, 'docker.io: it failed')
      const asked = tell(new UpstreamError('docker.io', kind, 'it failed', { retryAfter: 6.2 }))
      assert.equal(asked.headers['Retry-After'], '7')
    })
  }

  it('of content is 502', () => {
    const told = tell(new ContentMismatch('sha256:a', 'sha256:b'))
    assert.deepEqual([told.status, told.code], [502, 'UPSTREAM_INVALID'])
  })

  it('that nobody foresaw is 500, and tells nothing', () => {
    for (const error of [new TypeError('at /home/secret.ts:1'), 'text', undefined, null, { status: 404 }]) {
      const told = tell(error)
      assert.deepEqual(
        [told.status, told.code, told.message, told.detail],
        [500, 'UNKNOWN', 'internal error', undefined],
      )
    }
  })

  it('never asks to be tried again at once', () => {
    assert.equal(tell(new RegistryError('UNAVAILABLE', { retryAfter: 0 })).headers['Retry-After'], '1')
    assert.equal(tell(new RegistryError('UNAVAILABLE', { retryAfter: -3 })).headers['Retry-After'], '1')
  })

  it('keeps its cause to itself', () => {
    const told = tell(new RegistryError('DENIED', { cause: new Error('sesame') }))
    assert.ok(!JSON.stringify(told).includes('sesame'))
  })
})
