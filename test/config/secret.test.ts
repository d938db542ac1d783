import assert from 'node:assert/strict'
import { test } from 'node:test'
import { format, inspect } from 'node:util'
import { Secret } from '../../src/config/secret.ts'

test('only reveal() shows a secret', () => {
  const secret = new Secret('hunter2')
  const holder = { password: secret, list: [secret] }
  assert.equal(secret.reveal(), 'hunter2')
  assert.equal(`${secret}`, '***')
  assert.equal(JSON.stringify(holder), '{"password":"***","list":["***"]}')
  assert.equal(inspect(holder), '{ password: ***, list: [ *** ] }')
  for (const printed of [
    inspect(holder, { showHidden: true, customInspect: false }),
    format('%s %o %O %j', secret, secret, secret, secret),
    Object.entries(secret).join(),
    JSON.stringify({ ...secret }),
  ]) {
    assert.doesNotMatch(printed, /hunter2/)
  }
})

test('a secret can show the part that is not secret', () => {
  const secret = new Secret('redis://u:hunter2@h', 'redis://u:***@h')
  assert.equal(JSON.stringify([secret]), '["redis://u:***@h"]')
  assert.equal(secret.reveal(), 'redis://u:hunter2@h')
})
