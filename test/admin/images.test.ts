import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { emptyActions, startAdmin } from './support/admin.ts'

const json = { 'content-type': 'application/json' }

describe('/api/images', () => {
  for (const [query, message] of [
    ['limit=0', 'limit is a number from 1 to 1000, not "0"'],
    ['limit=1001', 'limit is a number from 1 to 1000, not "1001"'],
    ['limit=ten', 'limit is a number from 1 to 1000, not "ten"'],
    ['limit=', 'limit is a number from 1 to 1000, not ""'],
    ['limit=1&limit=2', 'the parameter limit is given twice'],
    ['size=1', 'unknown parameter "size"; this path has repository, limit, after'],
    ['after=alpine', '"alpine" is not an image; use its full name, such as docker.io/library/alpine:3.20'],
    ['repository=A%20b', '"A b" is not the start of a repository name, such as docker.io/library/'],
  ] as const) {
    it(`refuses ?${query}`, async () => {
      await using admin = await startAdmin()
      const answer = await admin.ask(`/api/images?${query}`)
      assert.equal(answer.status, 400)
      assert.deepEqual(answer.json, { errors: [{ code: 'INVALID', message }] })
    })
  }

  it('refuses parameters on other paths', async () => {
    await using admin = await startAdmin()
    for (const path of ['/api/stats', '/api/fills', '/api/upstreams', '/api/pins', '/api/scrub', '/api/events']) {
      const answer = await admin.ask(`${path}?verbose=1`)
      assert.equal(answer.status, 400, path)
      const message = 'unknown parameter "verbose"; this path has none'
      assert.deepEqual(answer.json, { errors: [{ code: 'INVALID', message }] })
    }
  })
})

describe('a purge', () => {
  for (const path of [
    'images/alpine',
    'images/alpine:3.20',
    'images/docker.io/library/alpine',
    'images/docker.io/library/Alpine:1',
    'images/docker.io/library/alpine:',
    'images/docker.io/library/alpine:a%20b',
    'images/docker.io/library/alpine:1%0a',
    'images/docker.io//alpine:1',
    'images/docker.io/../etc/passwd:1',
    'images/docker.io/library/alpine@sha256:00',
    `images/docker.io/library/alpine@sha256:${'0'.repeat(64)}`,
    `images/docker.io/library/alpine:sha256:${'0'.repeat(64)}`,
    `images/docker.io/library/alpine:${'x'.repeat(129)}`,
    'images/docker.io/%ff:1',
    'images/docker.io/%zz:1',
    'repositories/alpine',
    'repositories/library/alpine',
    'repositories/docker.io/',
    'repositories/docker.io/*',
    'repositories/docker.io/library/alpine:1',
    'repositories/-.io',
    'repositories/docker.io:0',
    'blobs/sha256:00',
    `blobs/sha256:${'A'.repeat(64)}`,
    `blobs/md5:${'0'.repeat(32)}`,
    'blobs/latest',
    'blobs/..%2f..%2fetc',
  ]) {
    it(`refuses ${path.slice(0, 60)}`, async () => {
      await using admin = await startAdmin()
      const answer = await admin.ask(`/api/${path}`, { method: 'DELETE', headers: json })
      assert.equal(answer.status, 400)
      const [error] = (answer.json as { errors: { code: string; message: string }[] }).errors
      assert.equal(error?.code, 'INVALID')
      assert.match(error?.message ?? '', /is not a|to purge a digest/)
    })
  }

  for (const path of [
    'images/docker.io/library/alpine:3.20',
    'images/localhost:5000/app:1',
    'images/docker.io%2Flibrary%2Falpine%3A3.20',
    'repositories/docker.io',
    'repositories/localhost:5000',
    'repositories/ghcr.io/a/b/c',
    `blobs/sha256:${'0'.repeat(64)}`,
    `blobs/sha512:${'0'.repeat(128)}`,
  ]) {
    it(`of ${path.slice(0, 60)} finds nothing`, async () => {
      await using admin = await startAdmin()
      const answer = await admin.ask(`/api/${path}`, { method: 'DELETE', headers: json })
      assert.equal(answer.status, 404)
      assert.equal((answer.json as { errors: { code: string }[] }).errors[0]?.code, 'NOT_CACHED')
    })
  }

  it('needs its content type, and the token if one is set', async () => {
    await using admin = await startAdmin({ token: 's3cret' })
    const path = '/api/images/docker.io/library/alpine:3'
    const authorization = 'Bearer s3cret'
    assert.equal((await admin.ask(path, { method: 'DELETE', headers: json })).status, 401)
    assert.equal((await admin.ask(path, { method: 'DELETE', headers: { authorization } })).status, 415)
    assert.equal(
      (await admin.ask(path, { method: 'DELETE', headers: { ...json, authorization: 'Bearer x' } })).status,
      401,
    )
    assert.equal((await admin.ask(path, { method: 'DELETE', headers: { ...json, authorization } })).status, 404)
  })

  it('completes official names of Docker Hub like clients do', async () => {
    const asked: string[] = []
    const purge = {
      image: async (repository: string, tag: string) => {
        asked.push(`${repository}:${tag}`)
        return undefined
      },
      repository: async (name: string) => {
        asked.push(name)
        return undefined
      },
      upstream: async () => undefined,
      digest: async () => undefined,
    }
    await using admin = await startAdmin({ actions: { ...emptyActions, purge } })
    for (const path of ['images/docker.io/alpine:3', 'repositories/docker.io/alpine', 'images/ghcr.io/alpine:3']) {
      await admin.ask(`/api/${path}`, { method: 'DELETE', headers: json })
    }
    assert.deepEqual(asked, ['docker.io/library/alpine:3', 'docker.io/library/alpine', 'ghcr.io/alpine:3'])
  })
})
