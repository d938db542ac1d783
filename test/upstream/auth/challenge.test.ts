import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseChallenges } from '../../../src/upstream/auth/challenge.ts'

function read(field: string | readonly string[] | undefined) {
  return parseChallenges(field).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])
}

const cases: { name: string; field: string | readonly string[] | undefined; challenges: unknown[] }[] = [
  { name: 'none', field: undefined, challenges: [] },
  { name: 'empty', field: '', challenges: [] },
  {
    name: 'Docker Hub',
    field:
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="invalid_token"',
    challenges: [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:a/b:pull,push',
          error: 'invalid_token',
        },
      ],
    ],
  },
  {
    name: 'two in one field, in odd casing',
    field: 'bAsIC Realm="R, S" ,BEARER  realm = "https://x/t" , Service=y',
    challenges: [
      ['basic', { realm: 'R, S' }],
      ['bearer', { realm: 'https://x/t', service: 'y' }],
    ],
  },
  {
    name: 'several fields',
    field: ['Basic realm="r"', 'Bearer realm="t"'],
    challenges: [
      ['basic', { realm: 'r' }],
      ['bearer', { realm: 't' }],
    ],
  },
  {
    name: 'bare schemes and token68',
    field: 'Negotiate, NTLM TlRMTVNTUAAC==, Digest , Basic realm="r"',
    challenges: [
      ['negotiate', {}],
      ['ntlm', {}],
      ['digest', {}],
      ['basic', { realm: 'r' }],
    ],
  },
  { name: 'escapes', field: 'Basic realm="a \\"b\\" \\\\c"', challenges: [['basic', { realm: 'a "b" \\c' }]] },
  {
    name: 'an empty value',
    field: 'Bearer realm="",service="s"',
    challenges: [['bearer', { realm: '', service: 's' }]],
  },
  {
    name: 'a URL without quotes',
    field: 'Bearer realm=https://x/t?a=b,service=s',
    challenges: [['bearer', { realm: 'https://x/t?a=b', service: 's' }]],
  },
  { name: 'a quote without end', field: 'Bearer realm="https://x', challenges: [['bearer', { realm: 'https://x' }]] },
  {
    name: 'the first of two equal names counts',
    field: 'Bearer realm="a",realm="b"',
    challenges: [['bearer', { realm: 'a' }]],
  },
  {
    name: 'schemes without a comma',
    field: 'Negotiate Basic realm="r"',
    challenges: [
      ['negotiate', {}],
      ['basic', { realm: 'r' }],
    ],
  },
  {
    name: 'empty list elements',
    field: ', ,Bearer realm="r",,service="s",',
    challenges: [['bearer', { realm: 'r', service: 's' }]],
  },
  { name: 'parameters of nobody', field: 'realm="r", Basic', challenges: [['basic', {}]] },
  {
    name: 'garbage before and between',
    field: '"x" ;; Bearer realm="r"; service="s"',
    challenges: [
      ['x', {}],
      ['bearer', { realm: 'r', service: 's' }],
    ],
  },
]

for (const { name, field, challenges } of cases) {
  test(`challenge: ${name}`, () => assert.deepEqual(read(field), challenges))
}

const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
const challenge = fc.record({
  scheme: word,
  parameters: fc.uniqueArray(fc.tuple(word, fc.string()), { selector: ([name]) => name, minLength: 1, maxLength: 4 }),
})

function format(challenges: readonly { scheme: string; parameters: [string, string][] }[]): string {
  return challenges
    .map(({ scheme, parameters }) => {
      const list = parameters.map(([name, value]) => `${name}="${value.replace(/[\\"]/g, '\\$&')}"`)
      return `${scheme} ${list.join(', ')}`
    })
    .join(', ')
}

test('every challenge that is formatted is parsed to the same', () => {
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 4 }), (challenges) => {
      const expected = challenges.map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])
      assert.deepEqual(read(format(challenges)), expected)
    }),
  )
})

test('parsing never throws', () => {
  const pieces = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'realm', '\t', 'Basic', ';', '==', 'ü')
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces).map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(fc.array(text), (fields) => {
      for (const { scheme } of parseChallenges(fields)) assert.match(scheme, /^[^\s",=]+$/)
    }),
    { numRuns: 300 },
  )
})

test('long and malformed fields are parsed in linear time', () => {
  for (const text of [
    '"'.repeat(30_000),
    'a '.repeat(15_000),
    `Bearer ${'='.repeat(30_000)}`,
    `x="${'\\'.repeat(30_001)}`,
  ]) {
    assert.ok(parseChallenges(text).length >= 0)
  }
})
