import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PassedBody, type PassedBodyOptions } from '../../../src/cache/fill/passed-body.ts'
import type { Verdict } from '../../../src/cache/fill/suspects.ts'
import { digestOf, hasherFor } from '../../../src/oci/digest.ts'
import { ContentMismatch, UpstreamError } from '../../../src/oci/error.ts'
import { ReaderClosed } from '../../../src/storage/body-reader.ts'
import { Gate } from '../../support/gate.ts'
import { FakeRegistry, type Step } from '../support/registry.ts'

const [a, b, c] = [Buffer.from('aaaa'), Buffer.from('bbbb'), Buffer.from('cc')]
const digest = digestOf(Buffer.concat([a, b, c]))

function open(steps: readonly Step[], told: number | undefined, options: Partial<PassedBodyOptions> = {}) {
  const registry = new FakeRegistry(steps, told)
  const verdicts: Verdict[] = []
  const body = PassedBody.open(registry.origin, digest, {
    span: { start: 0, end: undefined },
    size: undefined,
    hash: hasherFor(digest),
    answerTimeout: 1000,
    received: () => {},
    judged: (verdict) => verdicts.push(verdict),
    ...options,
  })
  return { registry, verdicts, body }
}

describe('PassedBody', () => {
  it('holds its last chunk back until the digest matched', async () => {
    const gate = new Gate()
    const { body: opening, verdicts } = open([a, b, c, gate], 10)
    const body = await opening
    assert.deepEqual([await body.read(), await body.read()], [a, b])
    const last = body.read()
    await gate.arrived()
    assert.deepEqual(verdicts, [])
    gate.open()
    assert.deepEqual(await last, c)
    assert.deepEqual(verdicts, ['verified'])
    assert.equal(await body.read(), undefined)
    assert.equal(await body.read(), undefined)
    await body.close()
  })

  it('ends with the error and without its last chunk where the digest does not match, however often it is read', async () => {
    const { body: opening, verdicts } = open([a, b, Buffer.from('XX')], 10)
    const body = await opening
    await body.read()
    await body.read()
    await assert.rejects(body.read(), ContentMismatch)
    await assert.rejects(body.read(), ContentMismatch)
    assert.deepEqual(verdicts, ['mismatch'])
    await body.close()
  })

  it('never gives the byte that completes a body which goes on too long', async () => {
    const { body: opening, verdicts } = open([Buffer.concat([a, b, c]), Buffer.from('more')], undefined, { size: 10 })
    const body = await opening
    await assert.rejects(body.read(), ContentMismatch)
    assert.deepEqual(verdicts, ['mismatch'])
    await body.close()
  })

  it('is not opened where the upstream tells another size than is known', async () => {
    const { body } = open([a, b, c], 11, { size: 10 })
    await assert.rejects(body, (error: unknown) => error instanceof UpstreamError && error.kind === 'protocol')
  })

  it('is not opened empty before it is verified', async () => {
    await assert.rejects(open([], 0).body, ContentMismatch)
  })

  it('of a part is passed on as it comes', async () => {
    const { body: opening, verdicts } = open([b, c], 10, { span: { start: 4, end: 9 }, hash: undefined })
    const body = await opening
    assert.deepEqual([await body.read(), await body.read(), await body.read()], [b, c, undefined])
    assert.deepEqual([body.size, verdicts], [10, []])
    await body.close()
  })

  it('is hashed on from where another hash stopped', async () => {
    const hash = hasherFor(digest).update(a)
    const { body: opening, verdicts } = open([b, c], 10, { span: { start: 4, end: undefined }, hash })
    const body = await opening
    assert.deepEqual([await body.read(), await body.read(), await body.read()], [b, c, undefined])
    assert.deepEqual(verdicts, ['verified'])
    await body.close()
  })

  it('that is closed ends the read that waits, every later one, and the download', async () => {
    const { body: opening, registry } = open([a, new Gate()], 10)
    const body = await opening
    const waiting = assert.rejects(body.read(), ReaderClosed)
    await body.close()
    await waiting
    await assert.rejects(body.read(), ReaderClosed)
    await body.close()
    assert.equal(registry.released, 1)
  })

  it('is not opened for who has left', async () => {
    const gone = new AbortController()
    gone.abort(new ReaderClosed())
    const { body, registry } = open([a], 10, { signal: gone.signal })
    await assert.rejects(body, ReaderClosed)
    assert.deepEqual(registry.asked, [])
  })
})
