import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FillEnd, FillReport } from '../../src/cache/observer.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { ContentMismatch, UpstreamError } from '../../src/oci/error.ts'
import { Counters } from '../../src/telemetry/counters.ts'
import { TelemetryObserver } from '../../src/telemetry/observer.ts'
import { memoryLog } from './support/memory-log.ts'

const digest = digestOf(Buffer.from('x'))

function setUp() {
  const clock = { now: 0 }
  const counters = new Counters(['docker.io', 'ghcr.io'])
  const { log, lines } = memoryLog()
  const observer = new TelemetryObserver({ counters, log, now: () => clock.now })
  return { clock, counters, lines, observer }
}

function fill(end: FillEnd): FillReport {
  return { upstream: 'docker.io', repository: 'docker.io/library/alpine', digest, end, bytes: 5, seconds: 2 }
}

describe('TelemetryObserver', () => {
  it('counts answers by upstream, kind and outcome, and bytes by upstream', () => {
    const { counters, observer } = setUp()
    observer.answered('blob', 'docker.io', 'hit')
    observer.answered('blob', 'docker.io', 'hit')
    observer.answered('manifest', 'ghcr.io', 'stale')
    observer.received('ghcr.io', 7)
    observer.received('ghcr.io', 8)
    assert.equal(counters.upstream('docker.io').answers.blob.hit, 2)
    assert.equal(counters.upstream('ghcr.io').answers.manifest.stale, 1)
    assert.equal(counters.upstream('ghcr.io').receivedBytes, 15)
  })

  it('gathers upstreams that were never configured under one name', () => {
    const { counters, observer } = setUp()
    for (let n = 0; n < 100; n += 1) observer.received(`host${n}.example`, 1)
    assert.deepEqual([...counters.upstreams.keys()], ['docker.io', 'ghcr.io', 'unknown'])
    assert.equal(counters.upstream('another.example').receivedBytes, 100)
  })

  it('counts and logs fills, each end at its level', async () => {
    const { counters, lines, observer } = setUp()
    const ends = ['stored', 'abandoned', 'failed', 'unwritable', 'mismatch'] as const
    for (const _ of ends) observer.fillStarted('docker.io', 'sha256:0' as never)
    assert.equal(counters.fillsRunning, 5)
    for (const end of ends) observer.fillEnded(fill(end))
    assert.equal(counters.fillsRunning, 0)
    assert.deepEqual(counters.fills, { stored: 1, abandoned: 1, failed: 1, unwritable: 1, mismatch: 1 })
    assert.equal(counters.fillSeconds.sum, 10)
    assert.deepEqual(
      (await lines()).map(({ level, end }) => [level, end]),
      [
        ['info', 'stored'],
        ['info', 'abandoned'],
        ['warn', 'failed'],
        ['error', 'unwritable'],
        ['error', 'mismatch'],
      ],
    )
  })

  it('counts every failure of a store and logs one in 10 s', async () => {
    const { clock, counters, lines, observer } = setUp()
    for (let n = 0; n < 50; n += 1) observer.storeFailed('metadata', new Error('down'))
    observer.storeFailed('content', new Error('full'))
    clock.now = 10_000
    observer.storeFailed('metadata', new Error('down'))
    assert.deepEqual(counters.storeFailures, { content: 1, metadata: 51 })
    assert.deepEqual(
      (await lines()).map(({ level, store, suppressed }) => [level, store, suppressed]),
      [
        ['error', 'metadata', 0],
        ['error', 'content', 0],
        ['error', 'metadata', 49],
      ],
    )
  })

  it('counts upstream failures by kind and logs one a kind in a minute', async () => {
    const { clock, counters, lines, observer } = setUp()
    const silent = () => observer.upstreamFailed('ghcr.io', new UpstreamError('ghcr.io', 'timeout', 'silent'))
    for (let n = 0; n < 3; n += 1) silent()
    observer.upstreamFailed('ghcr.io', new UpstreamError('ghcr.io', 'denied', 'login refused'))
    observer.upstreamFailed('ghcr.io', new ContentMismatch('a', 'b'))
    clock.now = 59_999
    silent()
    clock.now = 60_000
    silent()
    const { timeout, denied, other } = counters.upstream('ghcr.io').failures
    assert.deepEqual({ timeout, denied, other }, { timeout: 5, denied: 1, other: 1 })
    assert.deepEqual(
      (await lines()).map(({ level, upstream, kind, suppressed }) => [level, upstream, kind, suppressed]),
      [
        ['warn', 'ghcr.io', 'timeout', 0],
        ['error', 'ghcr.io', 'denied', 0],
        ['warn', 'ghcr.io', 'other', 0],
        ['warn', 'ghcr.io', 'timeout', 3],
      ],
    )
  })
})
