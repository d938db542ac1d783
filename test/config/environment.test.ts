import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { problems } from './problems.ts'

test('the environment wins over the file', async () => {
  const text = `listen: 127.0.0.1:1
admin: {listen: '127.0.0.1:2', token: from-file, hosts: [a.example]}
storage: {path: /from-file}
log: {level: error}
`
  const config = await parseConfig(text, 'c.yaml', {
    ENTREPOT_LISTEN: ':6000',
    ENTREPOT_ADMIN_LISTEN: '0.0.0.0:6001',
    ENTREPOT_ADMIN_TOKEN: 'from-environment',
    ENTREPOT_STORAGE_PATH: 'from-environment',
    ENTREPOT_LOG_LEVEL: 'debug',
  })
  assert.deepEqual(config.listen, { host: '', port: 6000 })
  assert.deepEqual(config.admin.listen, { host: '0.0.0.0', port: 6001 })
  assert.equal(config.admin.token?.reveal(), 'from-environment')
  assert.deepEqual(config.admin.hosts, ['a.example'])
  assert.equal(config.storage.path, resolve('from-environment'))
  assert.equal(config.log.level, 'debug')
})

test("REDIS_URL selects Redis, and keeps the file's other Redis settings", async () => {
  const environment = { REDIS_URL: 'redis://user:hunter2@redis.local:6379/2' }
  for (const [text, commandTimeout] of [
    ['', 250],
    ['metadata:', 250],
    ['metadata: {kind: sqlite}', 250],
    ['metadata: {kind: redis, url: redis://other, commandTimeout: 1s}', 1000],
  ] as const) {
    const { metadata } = await parseConfig(text, 'c.yaml', environment)
    assert.ok(metadata.kind === 'redis')
    assert.equal(metadata.url.reveal(), environment.REDIS_URL)
    assert.equal(String(metadata.url), 'redis://user:***@redis.local:6379/2')
    assert.equal(metadata.commandTimeout, commandTimeout)
  }
})

test('an empty variable counts as unset, and other variables are ignored', async () => {
  // Kubernetes sets such variables for a service named `entrepot`.
  const environment = { ENTREPOT_LISTEN: '', REDIS_URL: '', ENTREPOT_PORT: 'tcp://10.0.0.1:5000', HOME: '/' }
  assert.deepEqual(await loadConfig(undefined, environment), await loadConfig(undefined, {}))
})

test('a problem of the environment names the variable, and never shows a secret value', async () => {
  const environment = { ENTREPOT_LISTEN: '5000', ENTREPOT_LOG_LEVEL: 'loud', REDIS_URL: 'http://u:hunter2@h' }
  assert.deepEqual(await problems('listen: nonsense', environment), [
    'ENTREPOT_LISTEN: must be host:port, such as 0.0.0.0:5000 or [::]:5000',
    'ENTREPOT_LOG_LEVEL: must be debug, info, warn, error or silent',
    'REDIS_URL: must be a URL such as redis://redis.local:6379/0, or rediss:// for TLS',
  ])
})

test('an admin listener that others can reach needs a token, wherever its address comes from', async () => {
  await assert.rejects(loadConfig(undefined, { ENTREPOT_ADMIN_LISTEN: ':5001' }), {
    message: 'admin.token: must be set (or tokenFile, or ENTREPOT_ADMIN_TOKEN): :5001 is not a loopback address',
  })
  const environment = { ENTREPOT_ADMIN_LISTEN: ':5001', ENTREPOT_ADMIN_TOKEN: 'token' }
  assert.equal((await loadConfig(undefined, environment)).admin.token?.reveal(), 'token')
})

test('a section of the wrong type is reported, not replaced', async () => {
  assert.deepEqual(await problems('admin: 5', { ENTREPOT_ADMIN_LISTEN: '127.0.0.1:1' }), [
    'c.yaml:1: admin: must be a mapping of keys to values',
  ])
})
