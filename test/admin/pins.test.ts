import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { first, Larder } from '../cache/support/larder.ts'
import { image } from '../support/image.ts'
import { startAdmin } from './support/admin.ts'

const json = { 'content-type': 'application/json' }

function errorOf(answer: { readonly json: unknown }): { code: string; message: string } | undefined {
  return (answer.json as { errors: { code: string; message: string }[] }).errors[0]
}

describe('/api/pins', () => {
  it('keeps each pattern once, in order', async () => {
    await using larder = await Larder.open()
    assert.deepEqual((await larder.call('/pins')).json, { pins: [] })
    for (const [pattern, status] of [
      ['ghcr.io/*', 201],
      ['docker.io/library/*:3.*', 201],
      ['ghcr.io/*', 200],
    ] as const) {
      assert.deepEqual(await larder.call('/pins', 'POST', { pattern }), { status, json: { pattern } })
    }
    assert.deepEqual((await larder.call('/pins')).json, { pins: ['docker.io/library/*:3.*', 'ghcr.io/*'] })
    assert.deepEqual(await larder.call(`/pins/${encodeURIComponent('docker.io/library/*:3.*')}`, 'DELETE'), {
      status: 200,
      json: { pattern: 'docker.io/library/*:3.*' },
    })
    assert.equal((await larder.call('/pins/ghcr.io/*', 'DELETE')).status, 200)
    assert.deepEqual((await larder.call('/pins')).json, { pins: [] })
  })

  it('accepts an exact name only if it is cached', async () => {
    await using larder = await Larder.open()
    const app = `${first}/team/app`
    for (const pattern of [app, `${app}:1`]) {
      const answer = await larder.call('/pins', 'POST', { pattern })
      assert.equal(answer.status, 404)
      const hint = 'a pattern with a * may be pinned before anything matches it'
      assert.deepEqual(errorOf(answer), { code: 'NOT_CACHED', message: `nothing is cached of "${pattern}"; ${hint}` })
    }
    await larder.stock(app, '1', image())
    for (const [pattern, status] of [
      [app, 201],
      [`${app}:1`, 201],
      [`${app}:2`, 404],
      [`${first}/team/ap`, 404],
    ] as const) {
      assert.equal((await larder.call('/pins', 'POST', { pattern })).status, status, pattern)
    }
    assert.deepEqual(
      (await larder.images()).map(({ pinned }) => pinned),
      [true],
    )
  })

  it('refuses to delete what is not pinned', async () => {
    await using admin = await startAdmin()
    const answer = await admin.ask('/api/pins/ghcr.io/*', { method: 'DELETE', headers: json })
    assert.equal(answer.status, 404)
    assert.deepEqual(errorOf(answer), { code: 'NOT_CACHED', message: '"ghcr.io/*" is not pinned' })
  })

  for (const [body, code, message] of [
    ['', 'INVALID', 'the body must be {"pattern": "…"}'],
    ['{', 'INVALID', 'the body is not JSON'],
    ['[]', 'INVALID', 'the body is JSON, but not an object'],
    ['null', 'INVALID', 'the body is JSON, but not an object'],
    ['{}', 'INVALID', 'the body must be {"pattern": "…"}'],
    ['{"pattern":1}', 'INVALID', 'the body must be {"pattern": "…"}'],
    ['{"pattern":"ghcr.io/*","force":true}', 'INVALID', 'unknown key "force" in the body'],
    [`{"pattern":"${'a'.repeat(70_000)}"}`, 'TOO_LARGE', 'the body is larger than 65536 bytes'],
  ] as const) {
    it(`refuses the body ${body.slice(0, 40)}`, async () => {
      await using admin = await startAdmin()
      const answer = await admin.ask('/api/pins', { method: 'POST', headers: json, body })
      assert.equal(answer.status, code === 'TOO_LARGE' ? 413 : 400)
      assert.deepEqual(errorOf(answer), { code, message })
    })
  }

  for (const pattern of ['', 'alpine', 'docker.io', 'docker.io/Alpine', 'docker.io/a@sha256:00', 'docker.io/a b']) {
    it(`refuses the pattern ${JSON.stringify(pattern)}`, async () => {
      await using admin = await startAdmin()
      const body = JSON.stringify({ pattern })
      const answer = await admin.ask('/api/pins', { method: 'POST', headers: json, body })
      assert.equal(answer.status, 400)
      assert.match(errorOf(answer)?.message ?? '', /is neither an image nor a pattern of images, such as /)
    })
  }
})
