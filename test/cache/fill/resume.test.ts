import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { House } from '../support/house.ts'

const repository = 'library/app'
const size = 8_000_003
const step = 1_000_000
const cuts = 6
const atCdn = { kind: 'cdn', method: 'GET' } as const

describe('a body that breaks again and again', () => {
  for (const cut of ['fin', 'rst'] as const) {
    it(`by ${cut}, tokens and signatures expiring between, is one body to its client`, async () => {
      await using house = await House.open({ upstream: await TestUpstream.dockerHub() })
      const { upstream } = house
      const body = randomBlob(size)
      const digest = upstream.addBlob(repository, body)
      const breaks = Array.from({ length: cuts }, () => new Gate())
      for (const gate of breaks) upstream.fault(atCdn, { gate, gateAt: step, cutAfter: step, cut, times: 1 })

      await using reader = await house.open(digest, {}, repository)
      const reading = reader.read(size)
      for (const gate of breaks) {
        await gate.arrived()
        upstream.expireTokens()
        upstream.expireSignatures()
        gate.open()
      }
      const got = await reading
      assert.equal(digestOf(got), digest)
      await reader.some()
      assert.ok(reader.complete)

      // What an RST overtakes is lost, and fetched once more.
      const lost = cut === 'fin' ? 0 : cuts * step
      assert.ok(upstream.bytes({ kind: 'cdn' }) <= size + lost)
      assert.equal(upstream.count({ ...atCdn, status: [200, 206] }), 1 + cuts)
      await house.settled()
      assert.equal((await house.get(digest, {}, repository)).headers['cache-status'], 'entrepot; hit')
    })
  }
})
