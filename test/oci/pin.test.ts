import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parsePin } from '../../src/oci/pin.ts'

suite('A pin', () => {
  for (const [pattern, repository, tag, expected] of [
    ['docker.io/library/alpine', 'docker.io/library/alpine', '3.20', true],
    ['docker.io/library/alpine', 'docker.io/library/alpine-extra', '3.20', false],
    ['docker.io/library/alpine:3.20', 'docker.io/library/alpine', '3.20', true],
    ['docker.io/library/alpine:3.20', 'docker.io/library/alpine', '3.200', false],
    ['docker.io/library/alpine:3.20', 'docker.io/library/alpine', '3x20', false],
    ['docker.io/*', 'docker.io/library/alpine', 'latest', true],
    ['docker.io/*', 'docker.iox/library/alpine', 'latest', false],
    ['ghcr.io/org/app:v1.*', 'ghcr.io/org/app', 'v1.2', true],
    ['ghcr.io/org/app:v1.*', 'ghcr.io/org/app', 'v2.1', false],
    ['ghcr.io/*/app:*-rc', 'ghcr.io/a/b/app', '1-rc', true],
    ['ghcr.io/*/app:*-rc', 'ghcr.io/a/b/app', '1-rc2', false],
    ['*', 'ghcr.io/a', 'b', true],
    ['*:latest', 'ghcr.io/a', 'latest', true],
    ['ghcr.io/a*a', 'ghcr.io/a', '1', false],
    ['localhost:5000/app:1', 'localhost:5000/app', '1', true],
    ['localhost:5000/app', 'localhost:5000/app', '1', true],
  ] as const) {
    test(`${pattern} ${expected ? 'matches' : 'does not match'} ${repository}:${tag}`, () => {
      assert.equal(parsePin(pattern)?.matches(repository, tag), expected)
    })
  }

  for (const text of [
    '',
    'alpine',
    'alpine:3.20',
    'docker.io/',
    'docker.io/Alpine',
    'docker.io/a:',
    'docker.io/a:b:c',
    'docker.io/a@sha256:00',
    'docker.io/a b',
    'docker.io//a',
    'docker.io/a\n',
    `docker.io/${'a'.repeat(400)}`,
    `docker.io/a:${'b'.repeat(129)}`,
  ]) {
    test(`cannot be parsed from ${JSON.stringify(text.slice(0, 30))}`, () => assert.equal(parsePin(text), undefined))
  }

  test('has the prefix of everything that it matches', () => {
    assert.equal(parsePin('docker.io/library/al*ne:3.*')?.prefix, 'docker.io/library/al')
    assert.equal(parsePin('docker.io/library/alpine:3.20')?.prefix, 'docker.io/library/alpine')
    assert.equal(parsePin('*')?.prefix, '')
  })

  test('with many stars is matched in linear time', () => {
    const pin = parsePin(`docker.io/${'a*'.repeat(190)}b`)
    // By trying every split this would not end.
    assert.equal(pin?.matches(`docker.io/${'a'.repeat(245)}`, 'latest'), false)
  })
})
