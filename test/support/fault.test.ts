import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { digestOf } from '../../src/oci/digest.ts'
import type { Behaviour } from './behaviour.ts'
import { get, open, type Received } from './client.ts'
import { Gate } from './gate.ts'
import { randomBlob } from './image.ts'
import { TestUpstream } from './upstream.ts'
import { until } from './wait.ts'

const size = 200_000
const body = randomBlob(size)
const digest = digestOf(body)

async function start() {
  const upstream = await TestUpstream.start()
  upstream.addBlob('a', body)
  const url = `${upstream.url}/v2/a/blobs/${digest}`
  return { upstream, url, [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose]() }
}

const range = { range: 'bytes=10-19' }
const cases: {
  title: string
  behaviour: Behaviour
  headers?: Record<string, string>
  method?: string
  check: (received: Received) => void
}[] = [
  {
    title: 'flipByteAt changes one byte',
    behaviour: { flipByteAt: 70_000 },
    check: ({ body: got, complete }) => {
      assert.ok(complete && got)
      assert.deepEqual([got.length, got[69_999], got[70_001]], [size, body[69_999], body[70_001]])
      assert.notEqual(got[70_000], body[70_000])
    },
  },
  {
    title: 'truncateTo is a short body that is whole to HTTP',
    behaviour: { truncateTo: 100 },
    check: ({ bytes, complete, headers }) =>
      assert.deepEqual([bytes, complete, headers['content-length']], [100, true, '100']),
  },
  {
    title: 'truncateTo under the old length is a broken body',
    behaviour: { truncateTo: 100, contentLength: size },
    check: ({ bytes, complete, closedBy }) => assert.deepEqual([bytes, complete, closedBy], [100, false, 'fin']),
  },
  {
    title: 'extraBytes lengthen the body',
    behaviour: { extraBytes: 5 },
    check: ({ bytes, complete }) => assert.deepEqual([bytes, complete], [size + 5, true]),
  },
  {
    title: 'a Content-Length too small ends the body early',
    behaviour: { contentLength: size - 5 },
    check: ({ bytes }) => assert.equal(bytes, size - 5),
  },
  {
    title: 'chunked has no length',
    behaviour: { chunked: true },
    check: ({ headers, digest: got }) =>
      assert.deepEqual([headers['content-length'], headers['transfer-encoding'], got], [undefined, 'chunked', digest]),
  },
  {
    title: 'a cut in a chunked body shows',
    behaviour: { chunked: true, cutAfter: 5 },
    check: ({ bytes, complete }) => assert.deepEqual([bytes, complete], [5, false]),
  },
  {
    title: 'closeDelimited has neither',
    behaviour: { closeDelimited: true },
    check: ({ headers, digest: got }) =>
      assert.deepEqual([headers['content-length'], headers['transfer-encoding'], got], [undefined, undefined, digest]),
  },
  {
    title: 'cutAfter 0 still sends the headers',
    behaviour: { cutAfter: 0 },
    check: ({ status, bytes, complete }) => assert.deepEqual([status, bytes, complete], [200, 0, false]),
  },
  {
    title: 'no answer: FIN',
    behaviour: { instead: 'fin' },
    check: ({ status, closedBy }) => assert.deepEqual([status, closedBy], [0, 'fin']),
  },
  {
    title: 'no answer: RST',
    behaviour: { instead: 'rst' },
    check: ({ status, closedBy }) => assert.deepEqual([status, closedBy], [0, 'rst']),
  },
  {
    title: 'a status with an envelope and headers',
    behaviour: { status: 429, headers: { 'retry-after': '7' } },
    check: ({ status, headers, text }) => {
      assert.deepEqual([status, headers['retry-after']], [429, '7'])
      assert.match(text(), /TOOMANYREQUESTS/)
    },
  },
  {
    title: 'a page of a captive portal',
    behaviour: { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>' },
    check: ({ status, text }) => assert.deepEqual([status, text()], [200, '<p>']),
  },
  {
    title: 'headers set and omitted',
    behaviour: { setHeaders: { etag: 'W/"x"' }, omitHeaders: ['docker-content-digest'] },
    check: ({ headers }) => assert.deepEqual([headers.etag, headers['docker-content-digest']], ['W/"x"', undefined]),
  },
  {
    title: 'HEAD refused',
    behaviour: { headStatus: 405 },
    method: 'HEAD',
    check: ({ status }) => assert.equal(status, 405),
  },
  {
    title: 'HEAD without a length',
    behaviour: { omitHeaders: ['content-length'] },
    method: 'HEAD',
    check: ({ status, headers }) => assert.deepEqual([status, headers['content-length']], [200, undefined]),
  },
  {
    title: 'a range ignored',
    behaviour: { ignoreRange: true },
    headers: range,
    check: ({ status, bytes }) => assert.deepEqual([status, bytes], [200, size]),
  },
  {
    title: 'another range than asked for',
    behaviour: { wrongContentRange: true },
    headers: range,
    check: ({ status, headers, body: got }) => {
      assert.deepEqual([status, headers['content-range']], [206, `bytes 11-20/${size}`])
      assert.deepEqual(got, body.subarray(11, 21))
    },
  },
  {
    title: 'gzip for who accepts it',
    behaviour: { contentEncoding: 'gzip' },
    headers: { 'accept-encoding': 'gzip' },
    check: ({ headers, body: got }) => {
      assert.equal(headers['content-encoding'], 'gzip')
      assert.deepEqual(gunzipSync(got ?? ''), body)
    },
  },
  {
    title: 'no gzip for who does not',
    behaviour: { contentEncoding: 'gzip' },
    check: ({ digest: got }) => assert.equal(got, digest),
  },
]

for (const { title, behaviour, headers = {}, method = 'GET', check } of cases) {
  test(title, async () => {
    await using it = await start()
    it.upstream.fault({ kind: 'blob' }, behaviour)
    check(await get(it.url, { headers, method }))
  })
}

for (const cut of ['fin', 'rst'] as const) {
  test(`a body cut with ${cut}, once`, async () => {
    await using it = await start()
    const fault = it.upstream.fault({ kind: 'blob' }, { cutAfter: 100_000, cut, times: 1 })
    const broken = await get(it.url)
    assert.deepEqual([broken.complete, broken.closedBy, fault.hits], [false, cut, 1])
    assert.equal(it.upstream.bytes({ state: 'cut' }), 100_000)
    assert.ok((await get(it.url)).complete)
  })
}

test('gates hold the headers, and a body at exact offsets', async () => {
  await using it = await start()
  const [before, first, second] = [new Gate(), new Gate(), new Gate()]
  it.upstream.fault(
    { kind: 'blob' },
    {
      gate: before,
      gates: [
        { at: 70_000, gate: first },
        { at: 0, gate: second },
      ],
    },
  )
  const opening = open(it.url)
  await before.arrived()
  assert.equal(it.upstream.count({ status: 0 }), 1)
  before.open()
  await using reader = await opening
  await second.arrived()
  assert.equal(it.upstream.bytes(), 0)
  second.open()
  assert.deepEqual(await reader.read(70_000), body.subarray(0, 70_000))
  await first.arrived()
  assert.equal(it.upstream.bytes({ kind: 'blob', state: 'open' }), 70_000)
  first.open()
  assert.deepEqual(await reader.read(size), body.subarray(70_000))
  assert.ok(reader.complete)
})

test('a client that leaves shows, at a gate and in a stall', async () => {
  await using it = await start()
  it.upstream.fault({ kind: 'blob' }, { stallAfter: 10, times: 1 })
  it.upstream.fault({ kind: 'blob' }, { gate: new Gate(), gateAt: 10 })
  for (const gone of [1, 2]) {
    const reader = await open(it.url)
    await reader.read(10)
    reader.abort()
    await until(() => it.upstream.count({ state: 'cut' }) === gone, 'the upstream to see the client leave')
  }
})

test('the server feels a client that does not read', async () => {
  await using upstream = await TestUpstream.start()
  const large = upstream.addSynthetic('a', 64 * 1024 * 1024)
  await using reader = await open(`${upstream.url}/v2/a/blobs/${large}`)
  await reader.read(1)
  assert.ok(upstream.bytes() < 32 * 1024 * 1024)
})

test('faults with times go in order, then the newest of the others; removal ends one', async () => {
  await using it = await start()
  it.upstream.fault({ kind: 'blob' }, { status: 500 })
  const newest = it.upstream.fault({ kind: 'blob' }, { status: 503 })
  it.upstream.fault((request) => request.reference === digest, { status: 429, times: 2 })
  it.upstream.fault({ kind: ['blob', 'manifest'] }, { status: 504, times: 1 })
  it.upstream.fault({ kind: 'tags' }, { status: 418, times: 1 })
  const statuses: number[] = []
  for (let request = 0; request < 4; request += 1) statuses.push((await get(it.url)).status)
  newest.remove()
  statuses.push((await get(it.url)).status)
  it.upstream.clearFaults()
  statuses.push((await get(it.url)).status)
  assert.deepEqual(statuses, [429, 429, 504, 503, 500, 200])
})

test('a challenge is spared, unless the filter is empty or names a status', async () => {
  await using upstream = await TestUpstream.start({ auth: { kind: 'bearer' } })
  const url = `${upstream.url}/v2/a/manifests/v1`
  upstream.fault({ kind: 'manifest' }, { status: 500 })
  assert.equal((await get(url)).status, 401)
  upstream.fault({ kind: 'manifest', status: 401 }, { status: 502 })
  assert.equal((await get(url)).status, 502)
  upstream.fault({}, { status: 503 })
  assert.equal((await get(url)).status, 503)
})
