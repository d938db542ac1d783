import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Throttle } from '../../src/telemetry/throttle.ts'

describe('Throttle', () => {
  it('passes one event per key and interval, and counts the suppressed ones', () => {
    let now = 1_000
    const throttle = new Throttle(10, () => now)
    assert.equal(throttle.pass('a'), 0)
    assert.equal(throttle.pass('a'), undefined)
    assert.equal(throttle.pass('a'), undefined)
    assert.equal(throttle.pass('b'), 0)
    now += 10
    assert.equal(throttle.pass('a'), 2)
    now += 10
    assert.equal(throttle.pass('a'), 0)
  })

  it('goes on after the clock was set back', () => {
    let now = 1_000_000
    const throttle = new Throttle(10, () => now)
    throttle.pass('a')
    now = 0
    assert.equal(throttle.pass('a'), 0)
  })
})
