import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { tempDir } from '../support/temp.ts'
import { problems } from './problems.ts'

test('a password is read from its file without the final line break', async () => {
  await using dir = await tempDir()
  const file = `${dir.path}/password`
  for (const content of ['hunter 2', 'hunter 2\n', 'hunter 2\r\n']) {
    await writeFile(file, content)
    const config = await parseConfig(`upstreams: {docker.io: {username: me, passwordFile: ${file}}}`, 'c.yaml', {})
    const login = config.upstreams[0]?.login
    assert.equal(login?.password.reveal(), 'hunter 2')
    assert.equal(login?.passwordFile, file)
  }
})

test('the admin token is read from its file, which the environment overrides', async () => {
  await using dir = await tempDir()
  const file = `${dir.path}/token`
  await writeFile(file, 'from-file\n')
  const text = `admin: {listen: ':5001', tokenFile: ${file}}`
  assert.equal((await parseConfig(text, 'c.yaml', {})).admin.token?.reveal(), 'from-file')
  const overlaid = await parseConfig(text, 'c.yaml', { ENTREPOT_ADMIN_TOKEN: 'from-environment' })
  assert.equal(overlaid.admin.token?.reveal(), 'from-environment')
})

test('an unusable secret file is named in one line, without its content', async () => {
  await using dir = await tempDir()
  const { path } = dir
  await writeFile(`${path}/empty`, '\n')
  await writeFile(`${path}/two-words`, 'hunter2 hunter3')
  const text = `upstreams:
  a.example: {username: me, passwordFile: ${path}/absent}
  b.example: {username: me, passwordFile: ${path}}
  c.example: {username: me, passwordFile: ${path}/empty}
admin:
  tokenFile: ${path}/two-words
defaultUpstream: a.example
`
  assert.deepEqual(await problems(text), [
    `c.yaml:2: upstreams.a.example.passwordFile: cannot read ${path}/absent: no such file or directory`,
    `c.yaml:3: upstreams.b.example.passwordFile: cannot read ${path}: illegal operation on a directory`,
    `c.yaml:4: upstreams.c.example.passwordFile: ${path}/empty is empty`,
    'c.yaml:6: admin.tokenFile: must be ASCII without spaces: it travels in a header',
  ])
})
