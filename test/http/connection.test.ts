import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { Gate } from '../support/gate.ts'
import { image, randomBlob } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'
import { Wire, type WireAnswer } from '../support/wire.ts'

const added = image()
const { manifest, config } = added
const layer = added.layers[0] ?? config
const latest = '/v2/library/alpine/manifests/latest'
const blob = `/v2/library/alpine/blobs/${layer.digest}`

interface Step {
  readonly name: string
  readonly line: string
  readonly headers?: Readonly<Record<string, string>>
  readonly status: number
  readonly body?: Buffer
  readonly code?: string
}

const nothing = Buffer.alloc(0)

const steps: readonly Step[] = [
  { name: 'ping', line: 'GET /v2/', status: 200, body: Buffer.from('{}') },
  { name: 'miss', line: `GET ${latest}`, status: 200, body: manifest.body },
  { name: 'hit', line: `GET ${latest}`, status: 200, body: manifest.body },
  { name: 'HEAD', line: `HEAD ${latest}`, status: 200, body: nothing },
  {
    name: '304',
    line: `GET ${latest}`,
    headers: { 'if-none-match': `"${manifest.digest}"` },
    status: 304,
    body: nothing,
  },
  { name: 'cold blob', line: `GET ${blob}`, status: 200, body: layer.body },
  { name: 'blob', line: `GET ${blob}`, status: 200, body: layer.body },
  { name: 'blob HEAD', line: `HEAD ${blob}`, status: 200, body: nothing },
  {
    name: 'range',
    line: `GET ${blob}`,
    headers: { range: 'bytes=5-9' },
    status: 206,
    body: layer.body.subarray(5, 10),
  },
  {
    name: 'no such range',
    line: `GET ${blob}`,
    headers: { range: 'bytes=99999-' },
    status: 416,
    code: 'RANGE_INVALID',
  },
  {
    name: 'two ranges',
    line: `GET ${blob}`,
    headers: { range: 'bytes=0-1,4-5' },
    status: 400,
    code: 'RANGES_UNSUPPORTED',
  },
  { name: '404', line: 'GET /v2/library/alpine/manifests/absent', status: 404, code: 'MANIFEST_UNKNOWN' },
  { name: 'HEAD 404', line: 'HEAD /v2/library/alpine/manifests/absent', status: 404, body: nothing },
  { name: '405', line: 'DELETE /v2/library/alpine/manifests/latest', status: 405, code: 'UNSUPPORTED' },
  { name: '400', line: 'GET /v2/Alpine/manifests/latest', status: 400, code: 'NAME_INVALID' },
  { name: '403', line: 'GET /v2/evil.example/a/manifests/latest', status: 403, code: 'DENIED' },
  { name: 'strange Expect', line: `GET ${latest}`, headers: { expect: 'miracles' }, status: 200, body: manifest.body },
]

function assertStep(step: Step, answer: WireAnswer | undefined): void {
  assert.ok(answer, `${step.name}: no answer`)
  assert.equal(answer.status, step.status, step.name)
  assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0', step.name)
  assert.match(answer.headers['x-request-id'] ?? '', /^[\w-]+$/, step.name)
  if (step.body) assert.ok(answer.body.equals(step.body), `${step.name}: another body`)
  if (step.code) {
    assert.equal(answer.headers['content-type'], 'application/json', step.name)
    const { errors } = JSON.parse(answer.body.toString()) as { errors: { code: string; message: string }[] }
    assert.deepEqual([errors.length, errors[0]?.code, typeof errors[0]?.message], [1, step.code, 'string'], step.name)
  }
}

function methodOf({ line }: Step): string {
  return line.split(' ', 1)[0] ?? ''
}

async function start(): Promise<Stage> {
  const stage = await Stage.start()
  stage.upstream.addImage('library/alpine', 'latest', added)
  return stage
}

describe('one connection', () => {
  it('carries every kind of answer, one after the other, and stays in step', async () => {
    await using stage = await start()
    using wire = await Wire.open(stage.mirror.url)
    for (const round of [1, 2]) {
      for (const step of steps) {
        wire.request(step.line, step.headers)
        assertStep({ ...step, name: `${step.name}, round ${round}` }, await wire.answer(methodOf(step)))
        assert.equal(wire.rest, '', step.name)
      }
    }
    assert.equal(wire.ended, false)
  })

  it('carries requests that are sent before their answers', async () => {
    await using stage = await start()
    using wire = await Wire.open(stage.mirror.url)
    for (const step of [...steps, ...steps]) wire.request(step.line, step.headers)
    for (const step of [...steps, ...steps]) assertStep(step, await wire.answer(methodOf(step)))
    assert.equal(wire.rest, '')
  })

  it('is not shared with the answer to garbage: what was begun is cut, and never mixed with it', async () => {
    await using stage = await start()
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(300_000, 2))
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob', method: 'GET' }, { gate, gateAt: 100_000 })
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET /v2/library/alpine/blobs/${digest}`)
    await until(() => wire.rest.length > 50_000, 'the body to begin')
    wire.send('garbage\r\n\r\n')
    await wire.closed()
    gate.open()
    assert.equal(wire.rest.indexOf('HTTP/1.1', 10), -1)
  })

  it('that is cut by a failing body says so by its end, and the mirror goes on', async () => {
    await using stage = await start()
    const body = randomBlob(300_000, 3)
    const digest = stage.upstream.addBlob('library/alpine', body, digestOf(Buffer.from('something else')))
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET /v2/library/alpine/blobs/${digest}`)
    await assert.rejects(wire.answer(), /ended \d+ bytes early/)
    using other = await Wire.open(stage.mirror.url)
    other.request('GET /v2/')
    assert.equal((await other.answer())?.status, 200)
  })
})

describe('HTTP/1.0', () => {
  for (const { name, path, body } of [
    { name: 'a manifest', path: latest, body: manifest.body },
    { name: 'a cold blob', path: blob, body: layer.body },
    { name: 'an error', path: '/v2/', body: Buffer.from('{}') },
  ]) {
    it(`gets ${name} with its length, and the connection ends`, async () => {
      await using stage = await start()
      using wire = await Wire.open(stage.mirror.url)
      wire.send(`GET ${path} HTTP/1.0\r\n\r\n`)
      const answer = await wire.answer()
      assert.ok(answer)
      assert.ok(answer.body.equals(body))
      assert.deepEqual(
        [answer.status, answer.headers['content-length'], answer.headers['transfer-encoding']],
        [200, String(body.length), undefined],
      )
      await wire.closed()
    })
  }

  it('keeps the connection where it is asked to', async () => {
    await using stage = await start()
    using wire = await Wire.open(stage.mirror.url)
    for (let round = 0; round < 3; round += 1) {
      wire.send(`GET ${blob} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`)
      assert.ok((await wire.answer())?.body.equals(layer.body))
    }
  })

  it('gets no body whose end it could not tell', async () => {
    await using stage = await start()
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(1000, 4))
    stage.upstream.fault({ kind: 'blob' }, { chunked: true })
    using wire = await Wire.open(stage.mirror.url)
    wire.send(`GET /v2/library/alpine/blobs/${digest} HTTP/1.0\r\n\r\n`)
    assert.equal((await wire.answer())?.status, 502)
  })
})

describe('what is not HTTP', () => {
  const cases = [
    { name: 'garbage', sent: 'hello\r\n\r\n', status: 400 },
    { name: 'HTTP/2', sent: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: 400 },
    { name: 'TLS', sent: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', status: 400 },
    { name: 'a method nobody knows', sent: 'FROB /v2/ HTTP/1.1\r\nhost: a\r\n\r\n', status: 400 },
    { name: 'no Host', sent: 'GET /v2/ HTTP/1.1\r\n\r\n', status: 400 },
    { name: 'a header with NUL', sent: 'GET /v2/ HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n', status: 400 },
    { name: 'a space in the target', sent: 'GET /v2/a b/manifests/c HTTP/1.1\r\nhost: a\r\n\r\n', status: 400 },
    { name: 'a target of 64 KiB', sent: `GET /v2/${'a'.repeat(65536)} HTTP/1.1\r\nhost: a\r\n\r\n`, status: 431 },
    { name: 'headers of 64 KiB', sent: `GET /v2/ HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(65536)}\r\n\r\n`, status: 431 },
    {
      name: 'a hundred headers and one',
      sent: `GET /v2/ HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(100)}\r\n`,
      status: 431,
    },
    { name: 'a tunnel', sent: 'CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n', status: 405 },
  ]
  for (const { name, sent, status } of cases) {
    it(`${name} is ${status}, and the connection ends`, async () => {
      await using stage = await start()
      using wire = await Wire.open(stage.mirror.url)
      wire.send(sent)
      const answer = await wire.answer()
      assert.equal(answer?.status, status)
      assert.equal(answer.headers['connection'], 'close')
      await wire.closed()
      using next = await Wire.open(stage.mirror.url)
      next.request('GET /v2/')
      assert.equal((await next.answer())?.status, 200)
    })
  }
})

describe('an upgrade', () => {
  it('is declined by answering what was asked', async () => {
    await using stage = await start()
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${latest}`, {
      connection: 'upgrade, http2-settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABk',
    })
    assert.ok((await wire.answer())?.body.equals(manifest.body))
  })
})
