import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startMirror } from './support/mirror.ts'
import { entrepot } from './support/program.ts'

test('the program finds a running mirror by its environment', async () => {
  const config = { admin: { listen: '127.0.0.1:0', token: 's3cret' } }
  await using mirror = await startMirror({ upstreams: { 'docker.io': 'http://127.0.0.1:1' }, config })
  const listen = new URL(mirror.adminUrl).host
  const environment = { ENTREPOT_ADMIN_LISTEN: listen, ENTREPOT_ADMIN_TOKEN: 's3cret' }
  assert.deepEqual(await entrepot(['images'], environment), { status: 0, out: 'nothing is cached\n', err: '' })
  const { status, out } = await entrepot(['purge', 'docker.io'], environment)
  assert.deepEqual([status, out], [1, ''])
  assert.equal((await entrepot(['purge', 'Docker.io'], environment)).status, 2)
})
