import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RegistryError, UpstreamError } from '../../src/oci/error.ts'
import { Log } from '../../src/telemetry/log.ts'
import type { RequestFields } from '../../src/telemetry/request-fields.ts'
import { memoryLog } from './support/memory-log.ts'

const pull: RequestFields = {
  requestId: 'r1',
  method: 'GET',
  kind: 'blob',
  upstream: 'docker.io',
  repository: 'library/alpine',
  reference: 'sha256:00',
  outcome: 'hit',
  status: 200,
  bytes: 5,
  ms: 1.5,
  client: '192.0.2.1',
}

describe('Log', () => {
  it('writes one JSON line with level, time and message', async () => {
    const { log, lines } = memoryLog('info', () => 1_000)
    log.info('started', { port: 5000 })
    assert.deepEqual(await lines(), [{ level: 'info', time: '1970-01-01T00:00:01.000Z', port: 5000, msg: 'started' }])
  })

  it('writes the same lines for prepared requests as for others', async () => {
    const clock = { now: 0 }
    const { log, lines } = memoryLog('info', () => clock.now)
    const { requestId: _id, client: _client, ...shared } = pull
    const fields = { ...shared, userAgent: '"döcker" Basic sesamesesame==', path: '/?token=hush' }
    const write = log.prepareRequest(fields)
    for (const [now, requestId, client] of [
      [1, 'r1', '::1'],
      [2, 'r2', 'fe80::1%"'],
    ] as const) {
      clock.now = now
      write(JSON.stringify(requestId), JSON.stringify(client))
      log.request({ ...fields, requestId, client })
    }
    const [first, same, second, alike] = await lines()
    assert.deepEqual([first, second], [same, alike])
    assert.deepEqual([second?.['requestId'], second?.['client']], ['r2', 'fe80::1%"'])
    assert.ok(!JSON.stringify(first).includes('sesame') && !JSON.stringify(first).includes('hush'))
  })

  it('writes no prepared request that is below its level', async () => {
    const { log, lines } = memoryLog('warn')
    const { requestId: _id, client: _client, ...shared } = pull
    log.prepareRequest(shared)('"r1"', '"::1"')
    log.prepareRequest({ ...shared, status: 503 })('"r2"', '"::1"')
    assert.deepEqual(
      (await lines()).map(({ requestId }) => requestId),
      ['r2'],
    )
  })

  it('leaves out lines below its level', async () => {
    const { log, lines } = memoryLog('warn')
    log.debug('a')
    log.info('b')
    log.request(pull)
    log.warn('c')
    log.error('d')
    assert.deepEqual(
      (await lines()).map(({ msg }) => msg),
      ['c', 'd'],
    )
  })

  it('redacts every line', async () => {
    const { log, lines } = memoryLog()
    log.warn('went to https://host/?sig=hush', { headers: { authorization: 'hush' }, error: new Error('?sig=hush') })
    log.request({ ...pull, path: '/v2/?token=hush', userAgent: 'x https://me:hush@host/', error: new Error('?a=hush') })
    assert.doesNotMatch(JSON.stringify(await lines()), /hush/)
  })

  it('escapes line breaks', async () => {
    const { log, lines } = memoryLog()
    log.request({ ...pull, userAgent: 'a\n{"level":"error"}' })
    assert.equal((await lines()).length, 1)
  })

  for (const [name, fields, level] of [
    ['an answer', {}, 'info'],
    ['a client error', { status: 404, error: new RegistryError('BLOB_UNKNOWN') }, 'info'],
    ['an upstream failure', { status: 503, error: new UpstreamError('ghcr.io', 'unreachable', 'gone') }, 'warn'],
    ['a bug', { status: 500, error: new TypeError('oops') }, 'error'],
    ['a client that left', { status: 500, aborted: true }, 'info'],
  ] as const) {
    it(`logs ${name} as ${level}`, async () => {
      const { log, lines } = memoryLog()
      log.request({ ...pull, ...fields })
      const [line] = await lines()
      assert.equal(line?.['level'], level)
      assert.equal(line?.['requestId'], 'r1')
      assert.equal('error' in (line ?? {}), 'error' in fields)
    })
  }

  it('does not wait for a blocked output', async () => {
    const log = new Log({ level: 'info', now: () => 0, output: () => new Promise(() => {}), maxBuffered: 1024 })
    for (let n = 0; n < 1000; n += 1) log.info('line')
    assert.ok(log.dropped > 900)
    await log.flush(1)
  })
})
