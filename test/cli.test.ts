import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { parseConfig } from '../src/config/load.ts'
import { entrepot } from './support/program.ts'
import { tempDir } from './support/temp.ts'

test('version prints the version of the package', async () => {
  const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
  const expected = { status: 0, out: `entrepot ${version}\n`, err: '' }
  assert.deepEqual(await entrepot(['version']), expected)
  assert.deepEqual(await entrepot(['--version']), expected)
})

test('every command has a help text', async () => {
  const { status, out } = await entrepot(['--help'])
  assert.equal(status, 0)
  const commands = [...out.matchAll(/^ {2}([a-z-]+) /gm)].map(([, name]) => name ?? '')
  assert.ok(commands.length >= 3)
  for (const command of commands) {
    const help = await entrepot([command, '--help'])
    assert.deepEqual({ ...help, out: '' }, { status: 0, out: '', err: '' })
    assert.match(help.out, new RegExp(`Usage: entrepot ${command}`))
  }
})

const misused: readonly (readonly [args: readonly string[], err: RegExp])[] = [
  [[], /^entrepot: a pull-through.*check-config/s],
  [['frobnicate'], /^entrepot: unknown command "frobnicate"; see entrepot --help\n$/],
  [['--frob'], /^entrepot: unknown option "--frob"; see entrepot --help\n$/],
  [['check-config', '--frob'], /^entrepot: Unknown option '--frob'; see entrepot check-config --help\n$/],
  [['serve', 'extra'], /^entrepot: Unexpected argument 'extra'; see entrepot serve --help\n$/],
  [['serve', '--config'], /^entrepot: Option '--config <value>' argument missing; see entrepot serve --help\n$/],
  [['version', '--config=x'], /^entrepot: Unknown option '--config'; see entrepot version --help\n$/],
]

for (const [args, err] of misused) {
  test(`entrepot ${args.join(' ')} is refused`, async () => {
    const ended = await entrepot(args)
    assert.equal(ended.status, 2)
    assert.equal(ended.out, '')
    assert.match(ended.err, err)
  })
}

test('an invalid configuration is reported line by line, and fails', async () => {
  await using dir = await tempDir()
  const file = `${dir.path}/config.yaml`
  await writeFile(file, 'listen: nowhere\nupstreams:\n  docker.io:\n    url: hub\n    password: hunter2\n')
  for (const command of ['check-config', 'serve']) {
    assert.deepEqual(await entrepot([command, '--config', file]), {
      status: 1,
      out: '',
      err: [
        `${file}:1: listen: must be host:port, such as 0.0.0.0:5000 or [::]:5000\n`,
        `${file}:4: upstreams.docker.io.url: must be an absolute URL that begins with http:// or https://\n`,
        `${file}:5: upstreams.docker.io.password: needs a username\n`,
      ].join(''),
    })
  }
})

test('check-config prints the effective configuration without its secrets', async () => {
  await using dir = await tempDir()
  const file = `${dir.path}/config.yaml`
  await writeFile(file, 'upstreams: {docker.io: {username: me, password: hunter2}}\n')
  const environment = { ENTREPOT_CONFIG: file, ENTREPOT_LISTEN: ':7000', REDIS_URL: 'redis://:hunter2@redis.local' }
  const { status, out, err } = await entrepot(['check-config'], environment)
  assert.deepEqual([status, err], [0, ''])
  assert.doesNotMatch(out, /hunter2/)
  const config = await parseConfig(out, 'printed', {})
  assert.equal(config.listen.port, 7000)
  assert.equal(config.metadata.kind, 'redis')
  assert.equal(config.upstreams[0]?.login?.username, 'me')
})

test('--config wins over the environment', async () => {
  const environment = { ENTREPOT_CONFIG: '/absent/environment.yaml' }
  assert.deepEqual(await entrepot(['check-config', '--config', '/absent/flag.yaml'], environment), {
    status: 1,
    out: '',
    err: 'cannot read /absent/flag.yaml: no such file or directory\n',
  })
})
