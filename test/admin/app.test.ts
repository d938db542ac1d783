import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { calmSources, startAdmin } from './support/admin.ts'

const envelope = (code: string, message: string) => ({ errors: [{ code, message }] })

describe('admin app', () => {
  it('answers an unknown path with 404 in the envelope', async () => {
    await using admin = await startAdmin()
    for (const path of ['/', '/api', '/api/stats/', '/API/stats', '/livez/', '/v2/']) {
      const { status, json } = await admin.ask(path)
      assert.equal(status, 404, path)
      assert.deepEqual(json, envelope('NOT_FOUND', 'no such path'))
    }
  })

  it('answers a wrong method with 405 and Allow', async () => {
    await using admin = await startAdmin()
    for (const path of ['/livez', '/readyz', '/metrics', '/api/stats', '/api/upstreams', '/api/fills']) {
      const { status, headers, json } = await admin.ask(path, { method: 'POST' })
      assert.equal(status, 405, path)
      assert.equal(headers.allow, 'HEAD, GET')
      assert.deepEqual(json, envelope('UNSUPPORTED', 'the path does not support this method'))
    }
  })

  it('answers each write by its own methods', async () => {
    await using admin = await startAdmin()
    for (const [method, path, allow] of [
      ['DELETE', '/api/pins', 'HEAD, GET, POST'],
      ['DELETE', '/api/scrub', 'HEAD, GET, POST'],
      ['GET', '/api/evict', 'POST'],
      ['POST', '/api/images/docker.io/library/alpine:3', 'DELETE'],
      ['GET', '/api/blobs/sha256:00', 'DELETE'],
      ['PUT', '/api/repositories/docker.io', 'DELETE'],
    ] as const) {
      const { status, headers } = await admin.ask(path, { method })
      assert.deepEqual([path, status, headers.allow], [path, 405, allow])
    }
    assert.equal((await admin.ask('/api/warm', { method: 'POST' })).status, 404)
  })

  it('answers HEAD like GET without the body', async () => {
    await using admin = await startAdmin()
    const { status, headers, text } = await admin.ask('/api/stats', { method: 'HEAD' })
    assert.equal(status, 200)
    assert.match(headers['content-type'] ?? '', /^application\/json/)
    assert.equal(text, '')
  })

  it('sends the security headers with every answer', async () => {
    await using admin = await startAdmin({ token: 't' })
    for (const path of ['/livez', '/metrics', '/nowhere']) {
      const { headers } = await admin.ask(path)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['cache-control'], 'no-store')
      assert.equal(headers['access-control-allow-origin'], undefined)
    }
  })

  it('logs a bug, and keeps its message out of the answer', async () => {
    const fills = () => {
      throw new Error('secret detail')
    }
    await using admin = await startAdmin({ sources: { ...calmSources, fills } })
    const { status, json } = await admin.ask('/api/fills')
    assert.equal(status, 500)
    assert.deepEqual(json, envelope('UNKNOWN', 'internal error'))
    const [line] = await admin.logLines()
    assert.equal(line?.['level'], 'error')
    assert.equal(line?.['path'], '/api/fills')
  })
})
