import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { UpstreamError } from '../../src/oci/error.ts'
import { redact, redactError, redactText } from '../../src/telemetry/redact.ts'

describe('redactText', () => {
  for (const [name, text, expected] of [
    ['plain text', 'fill ended: 3 of 4 bytes?', 'fill ended: 3 of 4 bytes?'],
    [
      'a signed URL',
      'GET https://cdn.example/blob?X-Amz-Signature=abc&X-Amz-Date=1#x failed',
      'GET https://cdn.example/blob?X-Amz-Signature=[redacted]&X-Amz-Date=[redacted]#x failed',
    ],
    [
      'a token request keeps what is open',
      'https://auth.example/token?service=registry&scope=repository:a/b:pull&account=me',
      'https://auth.example/token?service=registry&scope=repository:a/b:pull&account=[redacted]',
    ],
    ['the ns parameter', '/v2/a/manifests/b?ns=docker.io', '/v2/a/manifests/b?ns=docker.io'],
    ['a login in a URL', 'redis://user:hunter2@redis:6379/0', 'redis://[redacted]@redis:6379/0'],
    ['an image with a digest is no login', 'https://ghcr.io/a/b@sha256:00', 'https://ghcr.io/a/b@sha256:00'],
    ['a bearer token', 'sent Authorization: Bearer eyJhbGciOi.J9-_.x', 'sent Authorization: Bearer [redacted]'],
    ['a basic login', 'basic dXNlcjpwYXNz', 'basic [redacted]'],
    ['a challenge', 'Bearer realm="https://auth.example/token"', 'Bearer realm="https://auth.example/token"'],
  ] as const) {
    it(name, () => assert.equal(redactText(text), expected))
  }

  it('cuts a long text', () => assert.equal(redactText('x'.repeat(100_000)).length, 2049))

  it('never throws and never leaks a query value', () => {
    fc.assert(
      fc.property(fc.string(), fc.stringMatching(/^[0-9a-f]{32}$/), (text, secret) => {
        assert.ok(!redactText(`${text.slice(0, 1000)}?sig=${secret}`).includes(secret))
      }),
    )
  })
})

describe('redact', () => {
  it('censors secret keys at any depth and leaves the rest', () => {
    const fields = {
      repository: 'docker.io/library/alpine',
      headers: { Authorization: 'x', 'proxy-authorization': 'x', 'set-cookie': ['a', 'b'], accept: '*/*' },
      nested: [{ password: 'x', token: { value: 'x' }, access_token: 7, tokenRealm: 'https://auth.example' }],
      token: undefined,
    }
    assert.deepEqual(redact(fields), {
      repository: 'docker.io/library/alpine',
      headers: {
        Authorization: '[redacted]',
        'proxy-authorization': '[redacted]',
        'set-cookie': '[redacted]',
        accept: '*/*',
      },
      nested: [
        {
          password: '[redacted]',
          token: '[redacted]',
          access_token: '[redacted]',
          tokenRealm: 'https://auth.example',
        },
      ],
      token: undefined,
    })
    assert.equal(fields.headers.Authorization, 'x')
  })

  it('ends on cycles', () => {
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    assert.match(JSON.stringify(redact(cycle)), /\[deep\]/)
  })
})

describe('redactError', () => {
  it('spells out an expected failure with its causes and without stacks', () => {
    const socket = Object.assign(new Error('connect to https://a:b@host/'), { code: 'ECONNREFUSED' })
    const error = new UpstreamError('ghcr.io', 'unreachable', 'no connection', {
      cause: new AggregateError([socket], ''),
    })
    const described = redactError(error) as { cause: { errors: unknown } }
    assert.deepEqual(
      { ...described, cause: described.cause.errors },
      {
        type: 'UpstreamError',
        message: 'ghcr.io: no connection',
        kind: 'unreachable',
        cause: [{ type: 'Error', message: 'connect to https://[redacted]@host/', code: 'ECONNREFUSED' }],
      },
    )
  })

  it('keeps the stack of a bug, redacted', () => {
    const described = redactError(new TypeError('bad https://host/?sig=secret')) as { stack: string }
    assert.match(described.stack, /sig=\[redacted\]/)
    assert.doesNotMatch(described.stack, /secret/)
  })

  it('accepts a value that is not an error', () => {
    assert.equal(redactError('Bearer abcdefghij'), 'Bearer [redacted]')
    assert.equal(redactError(undefined), undefined)
  })
})
