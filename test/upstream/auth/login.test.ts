import assert from 'node:assert/strict'
import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { Gate } from '../../support/gate.ts'
import { image } from '../../support/image.ts'
import { tempDir } from '../../support/temp.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { neverAborted, pull, refused, Subject } from '../subject.ts'

const users = { us: 'secret' }
const right = { username: 'us', password: 'secret' }
const wrong = { username: 'us', password: 'outdated' }
const token = { kind: 'token' } as const
const latest = { tag: 'latest' }
const repositories = ['open/one', 'open/two', 'hidden/one', 'hidden/two']
const privateRepositories: ReadonlySet<string> = new Set(['hidden/one', 'hidden/two'])

async function start(more: object = {}): Promise<TestUpstream> {
  const upstream = await TestUpstream.start({
    auth: { kind: 'bearer', users, privateRepositories, issueTokensForAnything: true, ...more },
  })
  for (const repository of repositories) upstream.addImage(repository, 'latest', image())
  return upstream
}

test('the login opens private repositories where that is allowed, and their content is unproven', async () => {
  await using test = await start()
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  for (const repository of repositories) {
    const found = await subject.manifest(repository, latest, neverAborted())
    assert.equal(found?.visibility, 'unproven')
  }
  assert.equal(subject.servesPrivate, true)
  assert.equal(test.count({ ...token, user: 'us' }), 4)
  assert.equal(test.count({ ...token, authorization: 'none' }), 0)
})

test('a repository that the login may not read is absent', async () => {
  await using test = await start({ mayRead: () => false })
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  await assert.rejects(subject.manifest('hidden/one', latest, neverAborted()), refused)
  assert.deepEqual(subject.refusals, [])
})

test('a registry that demands no login gets none', async () => {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  test.addImage('a', 'latest', image())
  assert.equal((await subject.manifest('a', latest, neverAborted()))?.visibility, 'public')
  assert.ok(test.requests.every(({ headers }) => headers.authorization === undefined))
})

test('a refused login is sent once, reported once, and rests; public images go on', async () => {
  await using test = await start()
  await using subject = new Subject(test, { credential: wrong, privateRepositories: 'serve' })
  const asked = repositories.map((repository) => subject.manifest(repository, latest, neverAborted()))
  const answers = await Promise.allSettled([
    ...asked,
    ...repositories.map((name) => subject.resolve(name, 'latest', undefined, neverAborted())),
  ])
  const outcomes = answers.map((answer) => (answer.status === 'fulfilled' ? 'found' : answer.reason.kind))
  assert.deepEqual(outcomes, ['found', 'found', 'denied', 'denied', 'found', 'found', 'denied', 'denied'])
  assert.equal(test.count({ ...token, authorization: 'basic' }), 1)
  const [refusal, ...others] = subject.refusals
  assert.deepEqual(others, [])
  assert.deepEqual([refusal?.username, refusal?.restsUntil], ['us', subject.clock.now + 15 * 60_000])
  assert.doesNotMatch(inspect([answers, subject.refusals], { depth: 9 }), /outdated|Basic |Bearer /)
  assert.equal(subject.restsUntil, undefined)
})

test('a refused login is sent again after its rest', async () => {
  await using test = await start()
  await using subject = new Subject(test, { credential: wrong, privateRepositories: 'serve' })
  await subject.manifest('open/one', latest, neverAborted())
  subject.clock.now += 15 * 60_000 - 1
  await subject.manifest('open/two', latest, neverAborted())
  assert.equal(test.count({ ...token, authorization: 'basic' }), 1)
  subject.clock.now += 1
  await subject.manifest('open/two', latest, neverAborted())
  assert.equal(test.count({ ...token, authorization: 'basic' }), 2)
})

test('a refused login is sent again when its file has changed', async () => {
  await using directory = await tempDir()
  const passwordFile = join(directory.path, 'password')
  await writeFile(passwordFile, 'outdated\n')
  await using test = await start()
  const credential = { username: 'us', passwordFile }
  await using subject = new Subject(test, { credential, privateRepositories: 'serve' })
  await assert.rejects(subject.manifest('hidden/one', latest, neverAborted()), { kind: 'denied' })
  await assert.rejects(subject.manifest('hidden/one', latest, neverAborted()), { kind: 'denied' })
  assert.equal(test.count({ ...token, authorization: 'basic' }), 1)
  await writeFile(passwordFile, 'secret\n')
  await utimes(passwordFile, 1, 1)
  assert.ok(await subject.manifest('hidden/one', latest, neverAborted()))
  assert.equal(test.count({ ...token, authorization: 'basic' }), 2)
  assert.equal(subject.refusals.length, 1)
})

test('a missing password file is reported like a refusal', async () => {
  await using test = await start()
  const credential = { username: 'us', passwordFile: '/nonexistent/password' }
  await using subject = new Subject(test, { credential, privateRepositories: 'serve' })
  assert.ok(await subject.manifest('open/one', latest, neverAborted()))
  await assert.rejects(subject.manifest('hidden/one', latest, neverAborted()), { kind: 'denied' })
  assert.deepEqual(
    subject.refusals.map(({ reason }) => reason),
    ['the password file cannot be read'],
  )
})

test('an untried login is sent by one request at a time', async () => {
  await using test = await start()
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  const gate = new Gate()
  test.fault(token, { gate, times: 1 })
  const asked = repositories.map((repository) => subject.manifest(repository, latest, neverAborted()))
  await gate.arrived()
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(test.count(token), 1)
  gate.open()
  for (const manifest of await Promise.all(asked)) assert.ok(manifest)
  assert.equal(test.count(token), 4)
})

test('an outage of the token service leaves the login untried', async () => {
  await using test = await start()
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  test.fault(token, { status: 503, times: 1 })
  await assert.rejects(subject.manifest('hidden/one', latest, neverAborted()), { kind: 'unavailable' })
  assert.ok(await subject.manifest('hidden/one', latest, neverAborted()))
  assert.deepEqual(subject.refusals, [])
})

test('Basic authentication with a right and with a wrong password', async () => {
  await using test = await TestUpstream.start({ auth: { kind: 'basic', users } })
  const added = image()
  for (const repository of repositories) test.addImage(repository, 'latest', added)
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  for (const { digest } of added.layers) assert.equal(await pull(subject, 'open/one', digest), digest)
  assert.deepEqual(
    test.requests.map(({ kind, status }) => `${kind} ${status}`),
    ['blob 401', 'blob 200'],
  )
  test.reset()
  await using mistaken = new Subject(test, { credential: wrong, privateRepositories: 'serve' })
  for (const repository of repositories) {
    await assert.rejects(mistaken.manifest(repository, latest, neverAborted()), { kind: 'denied' })
  }
  assert.equal(test.count({ authorization: 'basic' }), 1)
  assert.equal(mistaken.refusals.length, 1)
})

test('the login goes to no realm on another domain, unless that is configured', async () => {
  await using test = await start({ realm: 'elsewhere' })
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  assert.ok(await subject.manifest('open/one', latest, neverAborted()))
  await assert.rejects(subject.manifest('hidden/one', latest, neverAborted()), { kind: 'denied' })
  assert.equal(test.count({ authorization: 'basic' }), 0)
  assert.match(
    subject.refusals.map(({ reason }) => reason).join(),
    /^the token service localhost:\d+ is on another domain/,
  )
  await using configured = new Subject(test, {
    credential: right,
    privateRepositories: 'serve',
    tokenRealm: 'localhost',
  })
  assert.ok(await configured.manifest('hidden/one', latest, neverAborted()))
})

test('the login does not follow a redirect of the token service to another domain', async () => {
  await using foreign = await TestUpstream.start({ name: 'localhost' })
  await using test = await start()
  test.fault(token, { status: 307, headers: { location: `${foreign.url}/token` } })
  await using subject = new Subject(test, { credential: right, privateRepositories: 'serve' })
  await assert.rejects(subject.manifest('open/one', latest, neverAborted()))
  assert.ok(foreign.requests.every(({ headers }) => headers.authorization === undefined))
})
