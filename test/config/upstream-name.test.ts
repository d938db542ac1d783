import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalUpstreamName, defaultUpstreamUrl } from '../../src/config/upstream-name.ts'

const names: readonly (readonly [string, string | undefined])[] = [
  ['docker.io', 'docker.io'],
  ['Docker.IO', 'docker.io'],
  ['index.docker.io', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
  ['registry.hub.docker.com', 'docker.io'],
  ['GHCR.io', 'ghcr.io'],
  ['localhost', 'localhost'],
  ['registry.local:5000', 'registry.local:5000'],
  ['registry:5000', 'registry:5000'],
  ['127.0.0.1:5000', '127.0.0.1:5000'],
  ['library', undefined],
  ['https://ghcr.io', undefined],
  ['ghcr.io/', undefined],
  ['ghcr.io/owner', undefined],
  ['ghcr.io.', undefined],
  ['ghcr..io', undefined],
  ['-ghcr.io', undefined],
  ['ghcr.io:', undefined],
  ['ghcr.io:05', undefined],
  ['user@ghcr.io', undefined],
  ['', undefined],
]

for (const [text, expected] of names) {
  test(`an upstream written as ${JSON.stringify(text)} is ${expected ?? 'refused'}`, () => {
    assert.equal(canonicalUpstreamName(text), expected)
  })
}

test('a canonical name is its own canonical name, and no text throws', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.domain()), (text) => {
      const name = canonicalUpstreamName(text)
      assert.ok(name === undefined || canonicalUpstreamName(name) === name)
    }),
  )
})

test('the default URL of an upstream is its own name, except for Docker Hub', () => {
  assert.equal(defaultUpstreamUrl('ghcr.io'), 'https://ghcr.io')
  assert.equal(defaultUpstreamUrl('docker.io'), 'https://registry-1.docker.io')
})
