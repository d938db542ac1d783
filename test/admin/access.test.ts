import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { Router } from '@koa/router'
import Koa from 'koa'
import { requireJsonWrites } from '../../src/admin/access.ts'
import { answerErrors } from '../../src/admin/errors.ts'
import { memoryLog } from '../telemetry/support/memory-log.ts'
import { startAdmin } from './support/admin.ts'

const guarded = [
  '/',
  '/nowhere',
  '/metrics',
  '/api/stats',
  '/api/upstreams',
  '/api/fills',
  '/api/images',
  '/api/pins',
  '/api/scrub',
  '/api/events',
  '/livez/',
  '/livez/../metrics',
]

describe('token', () => {
  it('is required everywhere except by the health checks', async () => {
    await using admin = await startAdmin({ token: 'correct-horse' })
    for (const path of guarded) {
      const { status, headers, json } = await admin.ask(path)
      assert.equal(status, 401, path)
      assert.equal(headers['www-authenticate'], 'Bearer')
      assert.deepEqual(json, { errors: [{ code: 'UNAUTHORIZED', message: 'a bearer token is required' }] })
    }
    for (const path of ['/livez', '/readyz']) assert.equal((await admin.ask(path)).status, 200, path)
  })

  for (const [authorization, expected] of [
    ['Bearer s3cret', 200],
    ['bearer s3cret', 200],
    ['Bearer s3cre', 401],
    ['Bearer s3crett', 401],
    ['Bearer', 401],
    ['Bearer ', 401],
    ['Basic s3cret', 401],
    ['s3cret', 401],
    ['', 401],
  ] as const) {
    it(`answers ${expected} to "${authorization}"`, async () => {
      await using admin = await startAdmin({ token: 's3cret' })
      assert.equal((await admin.ask('/api/stats', { headers: { authorization } })).status, expected)
    })
  }

  it('is not required if none is set', async () => {
    await using admin = await startAdmin()
    assert.equal((await admin.ask('/api/stats')).status, 200)
  })
})

describe('writes', () => {
  for (const [type, expected] of [
    [undefined, 415],
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['application/json', 200],
    ['Application/JSON; charset=utf-8', 200],
  ] as const) {
    it(`answers ${expected} to Content-Type ${type}`, async () => {
      const router = new Router().use(requireJsonWrites()).post('/write', (ctx) => {
        ctx.body = {}
      })
      const app = new Koa().use(answerErrors(memoryLog().log)).use(router.routes())
      await using server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const headers = type === undefined ? {} : { 'content-type': type }
      const response = await fetch(`http://127.0.0.1:${port}/write`, {
        method: 'POST',
        headers,
        body: Buffer.from('{}'),
      })
      assert.equal(response.status, expected)
      await response.arrayBuffer()
    })
  }
})
