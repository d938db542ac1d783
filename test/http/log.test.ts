import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { open } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { image, randomBlob } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'
import { Wire } from '../support/wire.ts'

const minute = 60_000
const added = image()
const { manifest, config } = added
const latest = '/v2/library/alpine/manifests/latest'

type Line = Record<string, unknown>

async function start(): Promise<Stage> {
  const stage = await Stage.start({ config: { log: { level: 'debug' } } })
  stage.upstream.addImage('library/alpine', 'latest', added)
  return stage
}

function errorOf(line: Line | undefined): Line {
  return (line?.['error'] ?? {}) as Line
}

/** The lines of requests, once there are so many. */
async function requests({ mirror }: Stage, count: number): Promise<Line[]> {
  const lines = () => mirror.log.filter(({ msg }) => msg === 'request')
  await until(() => lines().length >= count, `${count} requests in the log`)
  return lines()
}

describe('the log', () => {
  it('has one line a request, with outcome, status, bytes, upstream and times', async () => {
    await using stage = await start()
    const gate = new Gate()
    stage.upstream.fault({ kind: 'manifest' }, { gate, times: 1 })
    const first = stage.get(latest, { headers: { 'user-agent': 'docker/29' } })
    await gate.arrived()
    stage.clock.now += 250
    gate.open()
    await first
    await stage.get(latest)
    await stage.get(latest, { method: 'HEAD' })
    await stage.get(latest, { headers: { 'if-none-match': `"${manifest.digest}"` } })
    await stage.get(`/v2/library/alpine/blobs/${config.digest}`, { headers: { range: 'bytes=0-9' } })
    await stage.get('/v2/library/alpine/manifests/absent')
    await stage.get('/v2/')
    const common = { method: 'GET', upstream: 'docker.io', repository: 'library/alpine' }
    const byTag = { ...common, kind: 'manifest', reference: 'latest' }
    const expected: Line[] = [
      {
        ...byTag,
        outcome: 'miss',
        status: 200,
        bytes: manifest.size,
        ms: 250,
        upstreamMs: 250,
        userAgent: 'docker/29',
      },
      { ...byTag, outcome: 'hit', status: 200, bytes: manifest.size, ms: 0, headersMs: 0, upstreamMs: undefined },
      { ...byTag, method: 'HEAD', outcome: 'hit', status: 200, bytes: 0 },
      { ...byTag, outcome: 'hit', status: 304, bytes: 0 },
      {
        ...common,
        kind: 'blob',
        reference: config.digest,
        outcome: 'miss',
        status: 206,
        bytes: 10,
        range: 'bytes=0-9',
      },
      { ...byTag, reference: 'absent', status: 404 },
      { method: 'GET', kind: 'other', path: '/v2/', status: 200, bytes: 2 },
    ]
    const lines = await requests(stage, expected.length)
    assert.equal(lines.length, expected.length)
    for (const [at, fields] of expected.entries()) {
      const line = lines[at] ?? {}
      for (const [name, value] of Object.entries(fields)) assert.deepEqual(line[name], value, `${at}: ${name}`)
      assert.equal(line['level'], 'info')
      assert.equal(line['aborted'], undefined)
      assert.equal(line['client'], '127.0.0.1')
    }
    assert.equal(new Set(lines.map(({ requestId }) => requestId)).size, lines.length)
    assert.equal(errorOf(lines[5])['code'], 'MANIFEST_UNKNOWN')
  })

  it('names a request as its answer does', async () => {
    await using stage = await start()
    const answers = [await stage.get(latest), await stage.get('/v2/'), await stage.get('/nothing')]
    const lines = await requests(stage, 3)
    assert.deepEqual(
      lines.map(({ requestId }) => requestId),
      answers.map(({ headers }) => headers['x-request-id']),
    )
  })

  it('tells what an upstream did, as a warning and without a stack', async () => {
    await using stage = await start()
    await stage.get(latest)
    await stage.upstream.stop()
    stage.clock.now += 6 * minute
    assert.equal((await stage.get(latest)).status, 200)
    assert.equal((await stage.get('/v2/library/other/manifests/latest')).status, 503)
    const [, stale, failed] = await requests(stage, 3)
    assert.deepEqual([stale?.['level'], stale?.['outcome'], stale?.['error']], ['info', 'stale', undefined])
    assert.deepEqual([failed?.['level'], failed?.['status']], ['warn', 503])
    const { type, kind, stack } = errorOf(failed)
    assert.deepEqual([type, kind, stack], ['UpstreamError', 'unreachable', undefined])
    const told = await until(() => stage.mirror.log.filter(({ msg }) => msg === 'upstream failed'), 'the failure')
    assert.equal(told[0]?.['upstream'], 'docker.io')
  })

  it('counts what could not be asked, whether a tag was stale or nothing was there', async () => {
    await using stage = await start()
    await stage.get(latest)
    await stage.upstream.stop()
    stage.clock.now += 6 * minute
    await stage.get(latest)
    await stage.get('/v2/library/other/manifests/latest')
    const metrics = await (await fetch(`${stage.mirror.adminUrl}/metrics`)).text()
    const [, count] = /upstream_failures_total\{[^}]*kind="unreachable"[^}]*\} (\d+)/.exec(metrics) ?? []
    assert.equal(count, '2', metrics.match(/.*failures.*/g)?.join('\n'))
  })

  it('keeps what strangers send short, and their secrets out', async () => {
    await using stage = await start()
    await stage.get('/', { path: `/v2/library/alpine/manifests/${'x'.repeat(9000)}` })
    await stage.get('/', { path: `/${'y'.repeat(9000)}?token=sesame` })
    await stage.get('/', { path: 'http://user:sesame@mirror/', headers: { 'user-agent': 'Basic sesamesesame==' } })
    for (const line of await requests(stage, 3)) {
      const text = JSON.stringify(line)
      assert.ok(text.length < 4000, `${text.length} characters`)
      assert.ok(!text.includes('sesame'), text.slice(0, 500))
    }
  })
})

describe('a client that leaves', () => {
  it('before the answer is logged as gone, and what it asked for is kept', async () => {
    await using stage = await start()
    const gate = new Gate()
    stage.upstream.fault({ kind: 'manifest' }, { gate })
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${latest}`)
    await gate.arrived()
    wire[Symbol.dispose]()
    await noticed(stage)
    gate.open()
    const line = (await requests(stage, 4)).find(({ kind }) => kind === 'manifest')
    assert.deepEqual([line?.['status'], line?.['aborted'], line?.['error']], [499, true, undefined])
    assert.deepEqual([line?.['level'], line?.['bytes']], ['info', 0])
    assert.equal((await stage.get(latest)).headers['cache-status'], 'entrepot; hit')
  })

  it('before an error is logged as gone, and not as the error', async () => {
    await using stage = await start()
    const gate = new Gate()
    stage.upstream.fault({ kind: 'manifest' }, { gate, status: 500 })
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${latest}`)
    await gate.arrived()
    wire[Symbol.dispose]()
    await noticed(stage)
    gate.open()
    const line = (await requests(stage, 4)).find(({ kind }) => kind === 'manifest')
    assert.deepEqual([line?.['level'], line?.['aborted'], line?.['error']], ['info', true, undefined])
  })

  it('in the middle of a body is logged as gone, with the bytes it took, and the download goes on', async () => {
    await using stage = await start()
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(300_000, 6))
    const path = `/v2/library/alpine/blobs/${digest}`
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob' }, { gate, gateAt: 100_000 })
    const reader = await open(`${stage.mirror.url}${path}`)
    await reader.read(50_000)
    reader.abort()
    const [line] = await requests(stage, 1)
    assert.deepEqual([line?.['status'], line?.['aborted'], line?.['error']], [200, true, undefined])
    const bytes = Number(line?.['bytes'])
    assert.ok(bytes >= 50_000 && bytes <= 100_000, `${bytes} bytes`)
    gate.open()
    await until(async () => (await stage.get(path)).headers['cache-status'] === 'entrepot; hit', 'the blob')
    assert.equal(stage.upstream.count({ kind: 'blob', method: 'GET' }), 1)
    const noise = stage.mirror.log.filter(({ level }) => level === 'error' || level === 'warn')
    assert.deepEqual(noise, [])
  })

  it('is told apart from a body that failed', async () => {
    await using stage = await start()
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(300_000, 6), digestOf(Buffer.from('other')))
    const answer = await stage.get(`/v2/library/alpine/blobs/${digest}`)
    assert.deepEqual([answer.status, answer.complete, answer.closedBy], [200, false, 'fin'])
    const [line] = await requests(stage, 1)
    assert.deepEqual([line?.['status'], line?.['aborted']], [200, undefined])
    assert.equal(errorOf(line)['type'], 'ContentMismatch')
  })
})

/** Enough turns of the event loop that both sides share, for an end that was sent before to be seen. */
async function noticed({ mirror }: Stage): Promise<void> {
  using wire = await Wire.open(mirror.url)
  for (let turn = 0; turn < 3; turn += 1) {
    wire.request('GET /v2/')
    await wire.answer()
  }
}
