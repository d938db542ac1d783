import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { canonicalHost } from '../../src/oci/registry-host.ts'

describe('canonicalHost', () => {
  it('has one name for every name of Docker Hub', () => {
    for (const name of ['docker.io', 'index.docker.io', 'Registry-1.Docker.IO', 'registry.hub.docker.com']) {
      assert.equal(canonicalHost(name), 'docker.io')
    }
  })

  it('only lower-cases the ASCII letters of other names', () => {
    assert.equal(canonicalHost('GHCR.io:443'), 'ghcr.io:443')
    assert.notEqual(canonicalHost('doc\u212Aer.io'), 'docker.io')
  })

  it('is its own canonical name', () => {
    fc.assert(fc.property(fc.string(), (text) => assert.equal(canonicalHost(canonicalHost(text)), canonicalHost(text))))
  })
})
