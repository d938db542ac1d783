import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type GetOptions, get, type Received } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { image, randomBlob, type TestImage } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'
import { errorOf } from './answer.ts'

const open = 'library/open'
const hidden = 'library/hidden'
const minute = 60_000
const password = 'correct horse battery staple'
const login = { username: 'robot', password }
const serves = { ...login, privateRepositories: 'serve' }

const shared = image()
const secret = image({ layers: [randomBlob(10_000, 7)], config: { secret: true } })

interface Ask {
  readonly name: string
  readonly path: string
  readonly options?: GetOptions
}

/** Every way to read an image. */
function waysTo({ manifest, config, layers }: TestImage, repository: string): Ask[] {
  const layer = layers[0]?.digest ?? ''
  const range = { headers: { range: 'bytes=10-19' } }
  const paths = ['manifests/latest', `manifests/${manifest.digest}`, `blobs/${config.digest}`, `blobs/${layer}`]
  return [
    ...paths.flatMap((path) => [
      { name: `HEAD ${path}`, path, options: { method: 'HEAD' } },
      { name: `GET ${path}`, path },
      { name: `conditional GET ${path}`, path, options: { headers: { 'if-none-match': '*' } } },
    ]),
    { name: 'range', path: `blobs/${layer}`, options: range },
    { name: 'HEAD again', path: 'manifests/latest', options: { method: 'HEAD' } },
  ].map(({ path, ...ask }) => ({ ...ask, path: `/v2/${repository}/${path}` }))
}

async function assertStatus(stage: Stage, added: TestImage, repository: string, expected: readonly number[]) {
  for (const { name, path, options } of waysTo(added, repository)) {
    const { status, bytes, headers } = await stage.get(path, options)
    assert.ok(expected.includes(status), `${name} of ${repository} is ${status}`)
    assert.equal(headers['www-authenticate'], undefined)
    if (status < 400) continue
    assert.ok(bytes < 400)
    for (const header of ['docker-content-digest', 'etag', 'cache-status']) assert.equal(headers[header], undefined)
  }
}

const served = [200, 206, 304]

async function start(entry: Readonly<Record<string, unknown>>, privateOnes: ReadonlySet<string> = new Set([hidden])) {
  const upstream = await TestUpstream.dockerHub({
    auth: { kind: 'bearer', realm: 'self', users: { robot: password }, privateRepositories: privateOnes },
    rateLimit: { limit: 1000, window: 21600 },
  })
  upstream.addImage(open, 'latest', shared)
  upstream.addImage(hidden, 'latest', secret)
  return await Stage.start({ upstream, entry, config: { log: { level: 'debug' } } })
}

describe('with a login for the rate limit alone', () => {
  it('everybody gets public content, with the login, and nobody gets private content', async () => {
    await using stage = await start(login)
    await assertStatus(stage, shared, open, served)
    assert.ok(stage.upstream.count({ repository: open, authorization: 'login' }) > 0)
    await assertStatus(stage, secret, hidden, [404])
    assert.equal(stage.upstream.count({ repository: hidden, authorization: ['login', 'basic'] }), 0)
    assert.equal(stage.upstream.count({ kind: 'cdn', reference: secret.layers[0]?.digest ?? '' }), 0)
    assert.equal(errorOf(await stage.get(`/v2/${hidden}/manifests/latest`)).code, 'NAME_UNKNOWN')
  })

  it('what is stored through a public repository is not served through a private one', async () => {
    await using stage = await start(login)
    stage.upstream.addImage(hidden, 'latest', shared)
    await assertStatus(stage, shared, open, served)
    await assertStatus(stage, shared, hidden, [404])
  })

  it('private content is not served through a public repository', async () => {
    await using stage = await start(serves)
    await assertStatus(stage, secret, hidden, served)
    for (const { path, options } of waysTo(secret, open)) {
      if (path.includes('latest')) continue
      assert.equal((await stage.get(path, options)).status, 404)
    }
    await stage.upstream.stop()
    for (const { path, options } of waysTo(secret, open)) {
      if (path.includes('latest')) continue
      assert.equal((await stage.get(path, options)).status, 503)
    }
  })

  it('private content that was cached while it could be served is no longer served', async () => {
    await using stage = await start(serves)
    await assertStatus(stage, shared, open, served)
    await assertStatus(stage, secret, hidden, served)
    await stage.upstream.stop()
    await stage.restart({ privateRepositories: 'refuse' })
    await assertStatus(stage, secret, hidden, [503])
    stage.clock.now += 10 * minute
    await assertStatus(stage, secret, hidden, [503])
    await stage.upstream.restart()
    stage.clock.now += minute
    await assertStatus(stage, secret, hidden, [404])
    await assertStatus(stage, shared, open, served)
    await stage.upstream.stop()
    await assertStatus(stage, shared, open, served)
  })

  it('a tag that was cached while it was private is served again once it is public', async () => {
    const privateOnes = new Set([hidden])
    await using stage = await start(serves, privateOnes)
    await assertStatus(stage, secret, hidden, served)
    await stage.restart({ privateRepositories: 'refuse' })
    assert.equal((await stage.get(`/v2/${hidden}/manifests/latest`)).status, 404)
    privateOnes.delete(hidden)
    stage.upstream.expireTokens()
    stage.clock.now += 16 * minute
    await assertStatus(stage, secret, hidden, served)
  })

  it('a repository that becomes private keeps what was public, marked stale, until its time is over', async () => {
    const privateOnes = new Set([hidden])
    await using stage = await start({ ...login, staleFor: '1h' }, privateOnes)
    const path = `/v2/${open}/manifests/latest`
    assert.equal((await stage.get(path)).status, 200)
    privateOnes.add(open)
    stage.upstream.expireTokens()
    stage.clock.now += 16 * minute
    const stale = await stage.get(path)
    assert.deepEqual([stale.status, stale.digest], [200, shared.manifest.digest])
    assert.match(String(stale.headers.warning), /^299 - "stale/)
    assert.deepEqual(errorOf(await stage.get(`/v2/${open}/manifests/never`)), { status: 404, code: 'NAME_UNKNOWN' })
    stage.clock.now += 60 * minute
    assert.deepEqual(errorOf(await stage.get(path)), { status: 404, code: 'NAME_UNKNOWN' })
    await stage.upstream.stop()
    stage.clock.now += minute
    assert.equal((await stage.get(path)).status, 503)
  })

  it('nobody gets what was pushed after a repository became private, cold or named by what was public', async () => {
    const privateOnes = new Set([hidden])
    await using stage = await start(login, privateOnes)
    await assertStatus(stage, shared, open, served)
    privateOnes.add(open)
    stage.upstream.expireTokens()
    stage.upstream.addImage(open, 'next', secret)
    for (const { path, options } of waysTo(secret, open)) {
      const { status } = await stage.get(path.replace('latest', 'next'), options)
      assert.equal(status, 404, path)
    }
    assert.equal(stage.upstream.count({ reference: secret.manifest.digest, authorization: 'login' }), 0)
    // What was shown to everybody stays.
    assert.equal((await stage.get(`/v2/${open}/manifests/${shared.manifest.digest}`)).status, 200)
  })

  it('nobody gets what the upstream guards for GET alone', async () => {
    const upstream = await TestUpstream.ghcr({ auth: { kind: 'bearer', realm: 'self', users: { robot: password } } })
    upstream.addImage(hidden, 'latest', secret)
    await using stage = await Stage.start({ upstream, entry: login })
    for (const kind of ['manifest', 'blob'] as const) {
      upstream.fault({ kind, method: 'GET', authorization: ['none', 'anonymous'] }, { status: 403 })
    }
    for (const { name, path, options } of waysTo(secret, hidden)) {
      // The upstream itself answers a stranger's HEAD of a manifest.
      const isTold = path.endsWith('latest') && options?.method === 'HEAD'
      const { status } = await stage.get(path, options)
      assert.ok(status === 404 || (isTold && status === 200), `${name} is ${status}`)
    }
    assert.equal(upstream.count({ authorization: ['login', 'basic'] }), 0)
  })

  it('a running download for a public repository is not joined through a private one', async () => {
    await using stage = await start(login)
    const body = randomBlob(300_000, 3)
    const digest = stage.upstream.addBlob(open, body)
    stage.upstream.addBlob(hidden, body)
    const gate = new Gate()
    stage.upstream.fault({ kind: 'cdn' }, { gate, gateAt: 100_000 })
    const pull = stage.get(`/v2/${open}/blobs/${digest}`)
    await gate.arrived()
    for (const options of [{}, { method: 'HEAD' }, { headers: { range: 'bytes=0-9' } }]) {
      assert.equal((await stage.get(`/v2/${hidden}/blobs/${digest}`, options)).status, 404)
    }
    gate.open()
    assert.equal((await pull).digest, digest)
  })
})

describe('with a login that serves private repositories', () => {
  it('everybody gets public and private content', async () => {
    await using stage = await start(serves)
    await assertStatus(stage, shared, open, served)
    await assertStatus(stage, secret, hidden, served)
    await stage.upstream.stop()
    await stage.restart()
    await assertStatus(stage, secret, hidden, served)
  })
})

describe('a login that is refused', () => {
  for (const privateRepositories of ['refuse', 'serve']) {
    it(`is sent once and logged as an error, and public images go on (${privateRepositories})`, async () => {
      await using stage = await start({ ...login, password: 'wrong and secret', privateRepositories })
      await assertStatus(stage, shared, open, served)
      assert.equal(stage.upstream.count({ kind: 'token', authorization: 'basic' }), 1)
      const refused = await until(
        () => stage.mirror.log.find(({ msg }) => String(msg).startsWith('the login was refused')),
        'the refusal in the log',
      )
      assert.deepEqual([refused['level'], refused['upstream'], refused['username']], ['error', 'docker.io', 'robot'])
    })
  }

  it('is an outage for what only the login can read: stale, and never absent', async () => {
    const users = { robot: password }
    const upstream = await TestUpstream.dockerHub({
      auth: { kind: 'bearer', realm: 'self', users, privateRepositories: new Set([hidden]) },
    })
    upstream.addImage(hidden, 'latest', secret)
    await using stage = await Stage.start({ upstream, entry: serves })
    const path = `/v2/${hidden}/manifests/latest`
    assert.equal((await stage.get(path)).status, 200)
    users.robot = 'changed'
    upstream.expireTokens()
    stage.clock.now += 16 * minute
    const stale = await stage.get(path)
    assert.deepEqual([stale.status, stale.digest], [200, secret.manifest.digest])
    assert.match(String(stale.headers['cache-status']), /detail=stale/)
    const never = await stage.get(`/v2/${hidden}/manifests/${shared.manifest.digest}`)
    assert.deepEqual(errorOf(never), { status: 503, code: 'UNAVAILABLE' })
    users.robot = password
    stage.clock.now += 16 * minute
    assert.match(String((await stage.get(path)).headers['cache-status']), /fwd-status=304/)
  })
})

describe('secrets', () => {
  it('are in no log line, no answer of the admin listener and no error', async () => {
    await using stage = await start(login)
    const told: string[] = []
    const hear = async (path: string, options?: GetOptions) => {
      const { headers, body } = await stage.get(path, options)
      told.push(JSON.stringify(headers), String(body))
    }
    for (const repository of [open, hidden, 'library/absent']) await hear(`/v2/${repository}/manifests/latest`)
    await hear(`/v2/${open}/blobs/${shared.config.digest}`)
    await hear(`/?token=sesame-1&password=sesame-2`, { headers: { authorization: 'Basic sesame-3' } })
    await hear('/v2/', {
      path: 'http://user:sesame-4@registry.example/x',
      headers: { 'user-agent': 'Bearer sesame-567' },
    })
    for (const behaviour of [{ status: 500 }, { status: 400 }, { instead: 'rst' } as const, { status: 302 }]) {
      const fault = stage.upstream.fault({ kind: ['manifest', 'token', 'cdn'], status: [200, 307] }, behaviour)
      stage.clock.now += 10 * minute
      await hear(`/v2/${open}/manifests/latest`)
      await hear(`/v2/${open}/manifests/${secret.manifest.digest}`)
      await hear(`/v2/${open}/blobs/${secret.config.digest}`)
      fault.remove()
    }
    for (const path of ['/api/stats', '/api/upstreams', '/api/fills', '/readyz', '/metrics']) {
      told.push((await get(`${stage.mirror.adminUrl}${path}`)).text())
    }
    const authorizations = stage.upstream.requests.map(({ headers }) => headers.authorization ?? '')
    const secrets = new Set(authorizations.flatMap((value) => value.split(' ').slice(1)))
    assert.ok(secrets.size >= 2)
    for (const value of [password, 'sesame', ...secrets]) {
      assert.ok(!told.some((text) => text.includes(value)), `${value} was told`)
    }
    const { mirror } = stage
    await stage.stop()
    const lines = mirror.log.map((line) => JSON.stringify(line))
    assert.ok(lines.length > 20)
    for (const value of [password, 'sesame', ...secrets]) {
      assert.ok(!lines.some((text) => text.includes(value)), `${value} was logged`)
    }
  })
})

describe('why a login does not open a registry', () => {
  const reason = 'not readable without a login; privateRepositories: refuse'
  const detailOf = (answer: Received) => answer.json<{ errors: { detail?: unknown }[] }>().errors[0]?.detail

  /** The log is whole once the mirror has stopped. */
  async function warningsOf(stage: Stage): Promise<unknown[]> {
    await stage.stop()
    const lines = stage.log.filter(({ msg }) => msg === reason)
    return lines.map(({ level, upstream, repository }) => ({ level, upstream, repository }))
  }

  async function noticesOf(stage: Stage): Promise<unknown[]> {
    const upstreams = (await (await fetch(`${stage.mirror.adminUrl}/api/upstreams`)).json()) as { notice: unknown }[]
    return upstreams.map(({ notice }) => notice)
  }

  it('is said by each answer, by one warning and by /api/upstreams, where it admits no strangers', async () => {
    const auth = { kind: 'basic', users: { us: 'secret' } } as const
    const entry = { username: 'us', password: 'secret' }
    await using stage = await Stage.start({ upstream: await TestUpstream.start({ auth }), entry })
    for (const repository of ['team/one', 'team/two']) {
      const { digest } = stage.upstream.addImage(repository, 'latest', shared) && shared.manifest
      for (const reference of ['latest', 'latest', digest]) {
        const answer = await stage.get(`/v2/${repository}/manifests/${reference}`)
        assert.deepEqual([errorOf(answer), detailOf(answer)], [{ status: 404, code: 'NAME_UNKNOWN' }, reason])
      }
    }
    assert.deepEqual(await noticesOf(stage), [`team/two: ${reason}`])
    assert.deepEqual(await warningsOf(stage), [{ level: 'warn', upstream: 'docker.io', repository: 'team/one' }])
  })

  it('is said by the answer alone, where strangers are admitted to other repositories', async () => {
    await using stage = await start(login, new Set([hidden]))
    assert.deepEqual(await noticesOf(stage), [null])
    assert.equal((await stage.get(`/v2/${open}/manifests/latest`)).status, 200)
    assert.equal(detailOf(await stage.get(`/v2/${hidden}/manifests/latest`)), reason)
    assert.deepEqual([await noticesOf(stage), await warningsOf(stage)], [[null], []])
  })

  it('is not said where no login is set', async () => {
    await using stage = await start({}, new Set([hidden]))
    const answer = await stage.get(`/v2/${hidden}/manifests/latest`)
    assert.deepEqual([errorOf(answer).code, detailOf(answer)], ['NAME_UNKNOWN', undefined])
    assert.deepEqual([await noticesOf(stage), await warningsOf(stage)], [[null], []])
  })
})
