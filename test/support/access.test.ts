import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BearerOptions } from './access.ts'
import { get } from './client.ts'
import { image } from './image.ts'
import { TestUpstream } from './upstream.ts'

const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})

function start(auth: Omit<BearerOptions, 'kind'> = {}): Promise<TestUpstream> {
  return TestUpstream.start({ auth: { kind: 'bearer', users: { ann: 'secret' }, ...auth } }).then((upstream) => {
    for (const name of ['open', 'other', 'closed']) upstream.addImage(name, 'v1', image())
    return upstream
  })
}

/** What a client does: follow the challenge, then come back with the token. */
async function pull(upstream: TestUpstream, repository: string, login = {}) {
  const url = `${upstream.url}/v2/${repository}/manifests/v1`
  const refused = await get(url)
  const challenge = refused.headers['www-authenticate'] ?? ''
  const [realm, service, scope] = ['realm', 'service', 'scope'].map(
    (name) => new RegExp(`.*${name}="([^"]*)"`, 'i').exec(challenge)?.[1] ?? '',
  )
  const query = new URLSearchParams({ service: service ?? '', scope: scope ?? '' })
  const issued = await get(`${realm}?${query}`, { headers: login })
  const answer = issued.json<{ token?: string; access_token?: string; expires_in?: number }>()
  const headers = { authorization: `Bearer ${answer.token ?? answer.access_token}` }
  const manifest = issued.status === 200 ? await get(url, { headers }) : undefined
  return { refused, challenge, issued, answer, headers, manifest }
}

test('a token is good for its repository until it expires', async () => {
  await using upstream = await start()
  const { refused, headers, manifest, answer } = await pull(upstream, 'open')
  assert.deepEqual([refused.status, manifest?.status, answer.expires_in], [401, 200, 300])
  const other = await get(`${upstream.url}/v2/other/manifests/v1`, { headers })
  assert.equal(other.status, 401)
  assert.match(other.headers['www-authenticate'] ?? '', /error="insufficient_scope"/)
  assert.equal((await get(`${upstream.url}/v2/`, { headers })).status, 200)
  assert.equal(upstream.liveTokens, 1)
  upstream.expireTokens()
  const expired = await get(`${upstream.url}/v2/open/manifests/v1`, { headers })
  assert.match(expired.headers['www-authenticate'] ?? '', /error="invalid_token"/)
  assert.equal(upstream.count({ authorization: 'anonymous' }), 4)
  assert.equal(upstream.count({ kind: 'token', repository: 'open', authorization: 'none' }), 1)
})

test('private repositories want a login, and a wrong one counts', async () => {
  await using upstream = await start({ privateRepositories: new Set(['closed']) })
  assert.equal((await pull(upstream, 'closed')).issued.status, 403)
  assert.equal((await pull(upstream, 'closed', basic('ann', 'wrong'))).issued.status, 401)
  assert.equal((await pull(upstream, 'closed', basic('ann', 'secret'))).manifest?.status, 200)
  assert.equal(upstream.count({ kind: 'token', status: 401, authorization: 'basic' }), 1)
  assert.equal(upstream.count({ kind: 'manifest', authorization: 'login', user: 'ann' }), 1)
})

test('Docker Hub gives a token for anything and then refuses', async () => {
  await using upstream = await start({ issueTokensForAnything: true, privateRepositories: new Set(['closed']) })
  for (const repository of ['closed', 'absent']) {
    const { issued, manifest } = await pull(upstream, repository)
    assert.deepEqual([issued.status, manifest?.status], [200, 401])
  }
  assert.equal((await pull(upstream, 'open')).manifest?.status, 200)
})

test('the odd forms of challenges and tokens', async () => {
  const cases: [Omit<BearerOptions, 'kind'>, (result: Awaited<ReturnType<typeof pull>>) => void][] = [
    [
      { multipleChallenges: true },
      ({ challenge }) => assert.match(challenge, /^bAsIC realm="Registry", BEARER Realm=/),
    ],
    [{ tokenField: 'access_token' }, ({ answer }) => assert.equal(typeof answer.access_token, 'string')],
    [{ omitExpiresIn: true }, ({ answer }) => assert.equal(answer.expires_in, undefined)],
    [{ scopeFromChallenge: 'aws' }, ({ challenge }) => assert.match(challenge, /scope="aws"/)],
    [{ realm: 'elsewhere' }, ({ challenge }) => assert.match(challenge, /realm="http:\/\/localhost:/)],
  ]
  for (const [options, check] of cases) {
    await using upstream = await start(options)
    const result = await pull(upstream, 'open')
    assert.equal(result.manifest?.status, 200)
    check(result)
  }
  await using bare = await start({ challengeOnRealRequests: false })
  assert.equal((await get(`${bare.url}/v2/open/manifests/v1`)).headers['www-authenticate'], undefined)
  assert.match((await get(`${bare.url}/v2/`)).headers['www-authenticate'] ?? '', /^Bearer/)
})

test('basic authorization', async () => {
  await using upstream = await TestUpstream.start({ auth: { kind: 'basic', users: { ann: 'secret' } } })
  upstream.addImage('open', 'v1', image())
  const url = `${upstream.url}/v2/open/manifests/v1`
  assert.equal((await get(url)).headers['www-authenticate'], 'Basic realm="Registry"')
  assert.equal((await get(url, { headers: basic('ann', 'wrong') })).status, 401)
  assert.equal((await get(url, { headers: basic('ann', 'secret') })).status, 200)
})
