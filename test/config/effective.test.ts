import assert from 'node:assert/strict'
import { test } from 'node:test'
import { redactedConfig } from '../../src/config/effective.ts'
import { loadConfig, parseConfig } from '../../src/config/load.ts'

test('the printed configuration is a file with the same meaning', async () => {
  const text = `listen: ':5000'
basePath: /mirror
admin: {listen: '[::1]:5001', hosts: [mirror.example]}
metadata: {kind: redis, url: redis://redis.local:6379/1, commandTimeout: 1s500ms}
defaultUpstream: registry.local:5000
upstreams:
  registry.local:5000: {url: http://10.0.0.1:5000, tagTtl: 90s, tokenRealm: auth.local}
  ghcr.io: {}
limits: {manifestSize: 4MB}
log: {level: silent}
`
  const config = await parseConfig(text, 'c.yaml', {})
  assert.deepEqual(await parseConfig(redactedConfig(config), 'c.yaml', {}), config)
  const defaults = await loadConfig(undefined, {})
  assert.deepEqual(await parseConfig(redactedConfig(defaults), 'c.yaml', {}), defaults)
})

test('secrets are printed as stars', async () => {
  const text = `admin: {token: hunter2}
upstreams: {docker.io: {username: me, password: hunter2}}
metadata: {kind: redis, url: redis://user:hunter2@redis.local}
`
  const printed = redactedConfig(await parseConfig(text, 'c.yaml', {}))
  assert.doesNotMatch(printed, /hunter2/)
  assert.match(printed, /^ {2}token: "\*\*\*"$/m)
  assert.match(printed, /^ {4}username: me\n {4}password: "\*\*\*"$/m)
  assert.match(printed, /^ {2}url: redis:\/\/user:\*\*\*@redis\.local$/m)
})
