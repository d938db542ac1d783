import assert from 'node:assert/strict'
import { truncate } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { call } from '../../support/admin-client.ts'
import { agent, teach, warm } from '../../support/fast-path.ts'
import {
  added,
  allClosed,
  ask,
  isFast,
  lineOf,
  repository,
  same,
  start,
  store,
  storeKnown,
} from '../../support/fast-path-blobs.ts'
import { randomBlob } from '../../support/image.ts'
import { Wire } from '../../support/wire.ts'

const hang = { timeout: 300_000 }
const body = randomBlob(3_000_000, 21)
const etag = `"${digestOf(body)}"`

const parts = [
  { range: 'bytes=5-2000004', from: 5, to: 2_000_004 },
  { range: 'bytes=0-', from: 0, to: 2_999_999 },
  { range: 'bytes=2999999-', from: 2_999_999, to: 2_999_999 },
  { range: 'bytes=0-0', from: 0, to: 0 },
  { range: 'bytes=100-70099', from: 100, to: 70_099 },
  { range: 'bytes=1000000-9999999', from: 1_000_000, to: 2_999_999 },
  { range: 'bytes=-1', from: 2_999_999, to: 2_999_999 },
  { range: 'bytes=-300000', from: 2_700_000, to: 2_999_999 },
  { range: 'bytes=-9999999', from: 0, to: 2_999_999 },
  { range: 'BYTES= 7-8', from: 7, to: 8 },
].map((part) => ({ ...part, bytes: body.subarray(part.from, part.to + 1) }))

describe('a range of a stored blob from the fast path', hang, () => {
  for (const { range, from, to, bytes } of parts) {
    it(`is what node:http sends, byte for byte: ${range}`, async () => {
      await using stage = await start()
      const { path } = await store(stage, body)
      await stage.restart()
      const once = () => ask(stage, `GET ${path}`, { range })
      const [first, second, third, fourth] = [await once(), await once(), await once(), await once()]
      const answers = [first, second, third, fourth]
      // By the ordinary way, which has to look; by the short one, which knows; and by the fast path.
      assert.deepEqual(answers.map(isFast), [false, false, true, true])
      assert.equal(same(third), same(second))
      assert.equal(same(fourth), same(second))
      assert.deepEqual(same(first).split('\r\n').sort(), same(second).split('\r\n').sort())
      for (const answer of answers) {
        const { status, headers } = answer
        const told = [status, headers['content-range'], headers['content-length']]
        assert.deepEqual(told, [206, `bytes ${from}-${to}/${body.length}`, `${bytes.length}`])
        assert.ok(answer.body.equals(bytes))
      }
      await allClosed(stage)
    })
  }

  it('leaves the connection to the next one, of whatever kind', async () => {
    await using stage = await start()
    const { path } = await storeKnown(stage, body)
    const { manifest } = added
    const byDigest = `/v2/${repository}/manifests/${manifest.digest}`
    await warm(stage, [byDigest])
    await teach(stage, `GET ${byDigest}`)
    for (const { range } of parts) assert.ok(!isFast(await ask(stage, `GET ${path}`, { range })))
    const whole = { line: `GET ${path}`, headers: agent, expected: body }
    const small = { line: `GET ${byDigest}`, headers: agent, expected: manifest.body }
    const ranges = parts.map(({ range, bytes }) => ({
      line: `GET ${path}`,
      headers: { ...agent, range },
      expected: bytes,
    }))
    using wire = await Wire.open(stage.mirror.url)
    for (const { line, headers, expected } of ranges.flatMap((one) => [one, one, small, one, whole])) {
      wire.request(line, headers)
      const answer = await wire.answer()
      assert.ok(isFast(answer) && answer?.body.equals(expected), JSON.stringify(headers))
    }
    assert.equal(wire.rest, '')
    await allClosed(stage)
  })

  it('is told in the log, and counted, as of node:http', async () => {
    await using stage = await start()
    const { path } = await store(stage, body)
    const range = 'bytes=5-200004'
    const before = await stage.mirror.stats()
    const [first, second] = [await ask(stage, `GET ${path}`, { range }), await ask(stage, `GET ${path}`, { range })]
    assert.deepEqual([isFast(first), isFast(second)], [false, true])
    const { requestId: _id, ...fields } = await lineOf(stage, second)
    const { requestId: _other, ...expected } = await lineOf(stage, first)
    assert.deepEqual(fields, expected)
    assert.deepEqual(Object.keys(fields), Object.keys(expected))
    const { outcome, status, bytes } = fields
    assert.deepEqual(
      { outcome, status, bytes, range: fields['range'] },
      { outcome: 'hit', status: 206, bytes: 200_000, range },
    )
    const after = await stage.mirror.stats()
    assert.equal(after.requests.blob.hit - before.requests.blob.hit, 2)
    assert.equal(after.bytes.served - before.bytes.served, 400_000)
  })

  it('does not make the fast path forget other heads, however many there are; of ranges it forgets some', async () => {
    await using stage = await start()
    const { path } = await storeKnown(stage, body)
    const first = { range: 'bytes=1-1' }
    assert.ok(!isFast(await ask(stage, `GET ${path}`, first)))
    assert.ok(isFast(await ask(stage, `GET ${path}`, first)))
    using wire = await Wire.open(stage.mirror.url)
    for (let at = 2; at < 4200; at += 1) {
      wire.request(`GET ${path}`, { ...agent, range: `bytes=${at}-${at}` })
      assert.equal((await wire.answer())?.body[0], body[at])
    }
    assert.ok(isFast(await ask(stage, `GET ${path}`)))
    assert.ok(!isFast(await ask(stage, `GET ${path}`, first)))
    assert.ok(isFast(await ask(stage, `GET ${path}`, { range: 'bytes=4199-4199' })))
  })
})

describe('of a stored blob the fast path answers no range', hang, () => {
  for (const { name, line = 'GET', headers, status, part } of [
    {
      name: 'under a condition that holds',
      headers: { range: 'bytes=5-9', 'if-range': etag },
      status: 206,
      part: [5, 10],
    },
    { name: 'under one that does not', headers: { range: 'bytes=5-9', 'if-range': '"x"' }, status: 200, part: [0] },
    { name: 'where it is none', headers: { range: 'bytes=9-5' }, status: 200, part: [0] },
    { name: 'in another unit', headers: { range: 'items=0-1' }, status: 200, part: [0] },
    { name: 'to a HEAD', line: 'HEAD', headers: { range: 'bytes=5-9' }, status: 200, part: [0, 0] },
    { name: 'that is outside of it', headers: { range: 'bytes=3000000-' }, status: 416, part: undefined },
    { name: 'of no bytes', headers: { range: 'bytes=-0' }, status: 416, part: undefined },
    { name: 'of several', headers: { range: 'bytes=0-1,5-6' }, status: 400, part: undefined },
    {
      name: 'of what the client has',
      headers: { range: 'bytes=5-9', 'if-none-match': etag },
      status: 304,
      part: [0, 0],
    },
  ]) {
    it(name, async () => {
      await using stage = await start()
      const { path } = await storeKnown(stage, body)
      for (let count = 0; count < 3; count += 1) {
        const answer = await ask(stage, `${line} ${path}`, headers)
        assert.deepEqual([isFast(answer), answer.status], [false, status])
        if (part) assert.ok(answer.body.equals(body.subarray(...part)))
        if (status === 200) assert.equal(answer.headers['content-length'], `${body.length}`)
        await allClosed(stage)
      }
    })
  }

  it('through a repository that has not been shown to hold it', async () => {
    await using stage = await start()
    const { digest } = await storeKnown(stage, body)
    const path = `/v2/library/other/blobs/${digest}`
    for (let count = 0; count < 3; count += 1) {
      assert.equal((await ask(stage, `GET ${path}`, { range: 'bytes=5-9' })).status, 404)
    }
  })

  it('where it is damaged, or gone: that is fetched anew', async () => {
    await using stage = await start()
    const { path, digest, file } = await storeKnown(stage, body)
    const range = 'bytes=5-200004'
    await ask(stage, `GET ${path}`, { range })
    assert.ok(isFast(await ask(stage, `GET ${path}`, { range })))
    // With this its size has been recorded.
    await stage.mirror.stats()
    for (const [at, harm] of [
      () => truncate(file, 2_000_000),
      () => call(`${stage.mirror.adminUrl}/api/blobs/${digest}`, 'DELETE'),
    ].entries()) {
      await harm()
      const answer = await ask(stage, `GET ${path}`, { range })
      assert.deepEqual([isFast(answer), answer.status], [false, 206])
      assert.ok(answer.body.equals(body.subarray(5, 200_005)))
      assert.equal(stage.upstream.count({ kind: 'blob', method: 'GET' }), at + 2)
      await store(stage, body)
      assert.ok(isFast(await ask(stage, `GET ${path}`, { range })))
    }
  })
})
