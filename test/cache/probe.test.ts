import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { Probe } from '../../src/cache/probe.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { claimsOf } from '../../src/oci/manifest.ts'

describe('Probe', () => {
  const probe = new Probe('abc123')

  it('is an index, and has every part of it with the right digest and size', () => {
    const index = probe.manifest({ tag: 'abc123' })
    assert.ok(index)
    const children = claimsOf(index.mediaType, index.body).manifests
    assert.ok(children.length >= 8)
    for (const child of children) {
      const manifest = probe.manifest({ digest: child.digest })
      assert.ok(manifest)
      assert.equal(digestOf(manifest.body), child.digest)
      assert.equal(manifest.size, child.size)
      const { blobs } = claimsOf(manifest.mediaType, manifest.body)
      assert.equal(blobs.length, 2)
      for (const { digest, size } of blobs) {
        const blob = probe.blob(digest)
        assert.ok(blob)
        assert.equal(digestOf(blob), digest)
        assert.equal(blob.length, size)
      }
    }
  })

  it('has a layer that tar can read', () => {
    const index = probe.manifest({ tag: 'abc123' })
    const child = index && claimsOf(index.mediaType, index.body).manifests[0]
    const manifest = child && probe.manifest({ digest: child.digest })
    const layer = manifest && claimsOf(manifest.mediaType, manifest.body).blobs[1]
    const { stdout, status } = spawnSync('tar', ['-xOf', '-', 'entrepot-probe'], {
      input: layer && probe.blob(layer.digest),
    })
    assert.equal(status, 0)
    assert.equal(stdout.toString(), 'abc123\n')
  })

  it('has nothing else, and shares no digest with the probe of another start', () => {
    assert.equal(probe.manifest({ tag: 'latest' }), undefined)
    assert.equal(probe.manifest({ digest: digestOf(Buffer.from('other')) }), undefined)
    assert.equal(probe.blob(digestOf(Buffer.from('other'))), undefined)
    const other = new Probe('def456').manifest({ tag: 'def456' })
    assert.notEqual(other?.digest, probe.manifest({ tag: 'abc123' })?.digest)
  })
})
