import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { claimsOf, manifestMediaType } from '../../src/oci/manifest.ts'
import { dockerManifest, essence, ociIndex, ociManifest } from '../../src/oci/media-type.ts'

const digest = (digit: string) => `sha256:${digit.repeat(64)}`
const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('2'), size: 20 }
const image = {
  schemaVersion: 2,
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('1'), size: 10 },
  layers: [layer, { ...layer, digest: digest('3'), urls: ['https://elsewhere.example/layer'] }],
}

describe('claimsOf', () => {
  it('lists config and layers of an image, without foreign layers', () => {
    assert.deepEqual(claimsOf(ociManifest, json(image)), { manifests: [], blobs: [image.config, layer] })
  })

  it('lists the children of an index', () => {
    const child = { mediaType: ociManifest, digest: digest('4'), size: 30 }
    const index = {
      manifests: [
        { ...child, platform: { os: 'linux' } },
        { mediaType: ociManifest, digest: 'bad', size: 1 },
        { ...child, mediaType: 'no/header\r\ncan: carry this' },
      ],
    }
    assert.deepEqual(claimsOf(ociIndex, json(index)), { manifests: [child], blobs: [] })
  })

  it('names what is a blob by its own type as a blob, and what may be either as both', () => {
    const child = { mediaType: ociManifest, digest: digest('4'), size: 30 }
    const cache = { mediaType: 'application/vnd.buildkit.cacheconfig.v0', digest: digest('5'), size: 40 }
    const odd = { mediaType: 'application/vnd.example', digest: digest('6'), size: 50 }
    const manifests = [child, layer, cache, odd]
    assert.deepEqual(claimsOf(ociIndex, json({ manifests })), { manifests: [child, odd], blobs: [layer, cache, odd] })
    const nested = { ...image, layers: [child, odd] }
    assert.deepEqual(claimsOf(ociManifest, json(nested)), { manifests: [child], blobs: [image.config, odd] })
  })

  it('lists nothing for unknown media types, and never throws', () => {
    assert.deepEqual(claimsOf('text/plain', json(image)), { manifests: [], blobs: [] })
    for (const type of [ociManifest, ociIndex]) {
      fc.assert(fc.property(fc.json(), (text) => void claimsOf(type, Buffer.from(text))))
      fc.assert(fc.property(fc.uint8Array(), (bytes) => void claimsOf(type, Buffer.from(bytes))))
    }
  })
})

describe('manifestMediaType', () => {
  it('trusts a specific header, without its parameters', () => {
    assert.equal(manifestMediaType(`${ociManifest}; charset=utf-8`, json({})), ociManifest)
  })

  it('looks into the body if the header is not specific', () => {
    assert.equal(manifestMediaType('text/plain', json({ mediaType: dockerManifest })), dockerManifest)
    assert.equal(manifestMediaType('application/json', json({ manifests: [] })), ociIndex)
    assert.equal(manifestMediaType(undefined, json(image)), ociManifest)
    const docker = { config: { mediaType: 'application/vnd.docker.container.image.v1+json' } }
    assert.equal(manifestMediaType(undefined, json(docker)), dockerManifest)
    assert.equal(manifestMediaType('application/json', Buffer.from('not json')), 'application/json')
  })

  it('is always valid in a header', () => {
    const odd = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('a/b\r\nx: y', 'a/b\u2028', '/', 'a/'))
    fc.assert(
      fc.property(odd, odd, (header, own) => {
        assert.match(manifestMediaType(header, json({ mediaType: own })), /^[a-z0-9][!-~]*\/[a-z0-9][!-~]*$/)
        assert.match(manifestMediaType(`application/vnd.${header}`, json({})), /^[a-z0-9][!-~]*\/[a-z0-9][!-~]*$/)
      }),
    )
  })
})

describe('essence', () => {
  it('drops parameters and case', () => assert.equal(essence(' Text/PLAIN ; charset=utf-8'), 'text/plain'))
})
