import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { algorithmOf, digestOf, hexOf, parseDigest } from '../../src/oci/digest.ts'
import { isFullRepositoryName, isRepositoryName, parseReference } from '../../src/oci/reference.ts'

const hex = 'a'.repeat(64)

describe('parseDigest', () => {
  it('accepts the registered algorithms with their lengths', () => {
    for (const [algorithm, length] of [
      ['sha256', 64],
      ['sha384', 96],
      ['sha512', 128],
    ] as const) {
      const digest = parseDigest(`${algorithm}:${'0'.repeat(length)}`)
      assert.ok(digest)
      assert.equal(algorithmOf(digest), algorithm)
      assert.equal(hexOf(digest).length, length)
    }
  })

  it('accepts nothing else', () => {
    const wrong = ['', ':', hex, `sha256:${hex}a`, `sha256:${'A'.repeat(64)}`, `sha512:${hex}`, `md5:${'0'.repeat(32)}`]
    for (const text of [
      ...wrong,
      `sha256:${hex}:x`,
      `sha256:../../etc/passwd`,
      `__proto__:${hex}`,
      `sha256:${hex}\n`,
    ]) {
      assert.equal(parseDigest(text), undefined, JSON.stringify(text))
    }
  })

  it('never throws, and parses what digestOf returns', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseDigest(text)))
    fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.ok(parseDigest(digestOf(bytes)))))
  })
})

describe('isFullRepositoryName', () => {
  it('wants an upstream and a name of it', () => {
    for (const name of ['docker.io/library/alpine', 'localhost/a', 'a:5/b', '127.0.0.1:5000/a/b', 'a-b.c/d']) {
      assert.ok(isFullRepositoryName(name), name)
    }
    for (const name of [
      '',
      '/',
      'docker.io',
      'docker.io/',
      '/a',
      'a/b',
      'Docker.io/a',
      'docker.io/A',
      'docker.io/../a',
    ]) {
      assert.ok(!isFullRepositoryName(name), name)
    }
    for (const name of ['docker.io/a\n', 'docker.io:0/a', `${'a'.repeat(400)}.io/a`, `a.io/${'a'.repeat(256)}`]) {
      assert.ok(!isFullRepositoryName(name), name)
    }
  })
})

describe('isRepositoryName', () => {
  it('follows the grammar of the distribution-spec', () => {
    for (const name of ['a', 'library/alpine', 'a/b/c/d/e', 'a.b', 'a_b', 'a__b', 'a--b', 'manifests/manifests']) {
      assert.ok(isRepositoryName(name), name)
    }
    const wrong = [
      '',
      '/',
      'a/',
      '/a',
      'a//b',
      'A',
      'a..b',
      '../a',
      'a/..',
      '-a',
      'a-',
      'a___b',
      'ä',
      'a b',
      'a\0b',
      'a%2fb',
    ]
    for (const name of [...wrong, 'a'.repeat(256)]) assert.ok(!isRepositoryName(name), JSON.stringify(name))
  })

  it('checks long hostile names without backtracking', () => {
    assert.ok(!isRepositoryName(`${'a-'.repeat(120)}!`))
  })
})

describe('parseReference', () => {
  it('distinguishes tags from digests', () => {
    assert.deepEqual(parseReference('3.20-alpine_x.y'), { tag: '3.20-alpine_x.y' })
    assert.deepEqual(parseReference(`sha256:${hex}`), { digest: `sha256:${hex}` })
    for (const text of [
      '',
      '.INVALID_MANIFEST_NAME',
      '-x',
      'a/b',
      'sha256:totallywrong',
      'x'.repeat(129),
      'a b',
      'a\0',
    ]) {
      assert.equal(parseReference(text), undefined, JSON.stringify(text))
    }
  })
})
