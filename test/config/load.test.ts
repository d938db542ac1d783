import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problem.ts'
import { problems } from './problems.ts'

test('without a file, Docker Hub and three other public registries are mirrored on port 5000', async () => {
  const config = await loadConfig(undefined, {})
  assert.deepEqual(config.listen, { host: '0.0.0.0', port: 5000 })
  assert.deepEqual(config.admin, { listen: { host: '127.0.0.1', port: 5001 }, token: undefined, hosts: [] })
  assert.deepEqual(config.storage, { kind: 'file', path: resolve('data'), scrubRate: 8 * 1024 * 1024 })
  assert.deepEqual(config.metadata, { kind: 'sqlite' })
  assert.equal(config.defaultUpstream, 'docker.io')
  assert.deepEqual(
    config.upstreams.map(({ name, url }) => [name, url]),
    [
      ['docker.io', 'https://registry-1.docker.io'],
      ['ghcr.io', 'https://ghcr.io'],
      ['quay.io', 'https://quay.io'],
      ['registry.k8s.io', 'https://registry.k8s.io'],
    ],
  )
  assert.equal(config.timeouts.tagDeadline, 2000)
  assert.equal(config.limits.manifestSize, 8 * 1024 * 1024)
})

test('an empty file, and empty sections, mean the defaults', async () => {
  const defaults = await loadConfig(undefined, {})
  const sections = 'admin:\nstorage:\nmetadata:\ntimeouts:\nlimits: {}\nlog:\n'
  for (const text of ['', '# nothing\n', '---\n', sections]) {
    assert.deepEqual(await parseConfig(text, 'c.yaml', {}), defaults)
  }
})

test('a file with upstreams allows exactly those', async () => {
  const text = `upstreams:
  ghcr.io:
  Index.Docker.io: { username: me, password: hunter2, tokenRealm: auth.example:8443, privateRepositories: serve }
  registry.local:5000: { url: "http://10.0.0.1:5000/mirror/", tagTtl: 0s, staleFor: 1h30m }
defaultUpstream: registry-1.docker.io
`
  const { upstreams, defaultUpstream } = await parseConfig(text, 'c.yaml', {})
  const [hub, ghcr, local] = upstreams
  assert.equal(upstreams.length, 3)
  assert.equal(defaultUpstream, 'docker.io')
  assert.equal(ghcr?.name, 'ghcr.io')
  assert.equal(hub?.name, 'docker.io')
  assert.equal(hub?.url, 'https://registry-1.docker.io')
  assert.equal(hub?.login?.password.reveal(), 'hunter2')
  assert.equal(hub?.tokenRealm, 'auth.example:8443')
  assert.equal(hub?.privateRepositories, 'serve')
  assert.deepEqual(local, {
    name: 'registry.local:5000',
    url: 'http://10.0.0.1:5000/mirror',
    login: undefined,
    tokenRealm: undefined,
    privateRepositories: 'refuse',
    tagTtl: 0,
    staleFor: 5_400_000,
  })
})

test('a configuration cannot be changed', async () => {
  const config = await parseConfig('admin: {hosts: [Mirror.Example]}', 'c.yaml', {})
  assert.deepEqual(config.admin.hosts, ['mirror.example'])
  for (const part of [config, config.admin, config.admin.hosts, config.upstreams, config.upstreams[0], config.limits]) {
    assert.ok(Object.isFrozen(part))
  }
})

test('all problems are reported at once, in the order of the lines', async () => {
  const text = `listen: 5000
basePath: mirror/
admin:
  listen: 0.0.0.0:5001
  hosts: [a.example, "b:80"]
  typo: 1
storage: {kind: s3, path: ''}
metadata:
  kind: memory
defaultUpstream: foo.io
upstreams:
  docker.io:
    url: ftp://x
    username: me
    tagTTL: 5m
    tagTtl: 5
  index.docker.io:
    url: https://u:hunter2@h
    password: hunter2
  a.example: {username: "m:e", password: 12, passwordFile: /x, tokenRealm: "https://u:hunter2@h"}
  library: {}
  quay.io: 7
timeouts:
  connect: 40d
limits:
  manifestSize: 2GiB
  redirects: 1.5
log: {level: loud}
`
  assert.deepEqual(await problems(text), [
    'c.yaml:1: listen: must be host:port, such as 0.0.0.0:5000 or [::]:5000',
    'c.yaml:2: basePath: must be empty, or begin with a slash and not end with one',
    'c.yaml:3: admin.token: must be set (or tokenFile, or ENTREPOT_ADMIN_TOKEN): 0.0.0.0:5001 is not a loopback address',
    'c.yaml:5: admin.hosts.1: must be a host name without a port',
    'c.yaml:6: admin.typo: unknown key',
    'c.yaml:7: storage.kind: must be file',
    'c.yaml:7: storage.path: must not be empty',
    'c.yaml:9: metadata.kind: must be sqlite or redis',
    'c.yaml:10: defaultUpstream: must be one of the upstreams (a.example, docker.io, quay.io), not "foo.io"',
    'c.yaml:13: upstreams.docker.io.url: must be an absolute URL that begins with http:// or https://',
    'c.yaml:14: upstreams.docker.io.username: needs a password or a passwordFile',
    'c.yaml:15: upstreams.docker.io.tagTTL: unknown key',
    'c.yaml:16: upstreams.docker.io.tagTtl: must be a duration, such as 5m, 1h30m or 30d',
    'c.yaml:17: upstreams.index.docker.io: names the same registry as an entry above it',
    'c.yaml:18: upstreams.index.docker.io.url: must not contain a login; use username and password',
    'c.yaml:19: upstreams.index.docker.io.password: needs a username',
    'c.yaml:20: upstreams.a.example.password: must be a text; put it in quotes',
    'c.yaml:20: upstreams.a.example.passwordFile: cannot read /x: no such file or directory',
    'c.yaml:20: upstreams.a.example.passwordFile: must not be set together with password',
    'c.yaml:20: upstreams.a.example.tokenRealm: must be a host, host:port or an absolute URL, without a login in it',
    'c.yaml:20: upstreams.a.example.username: must not contain a colon',
    'c.yaml:21: upstreams.library: must be a registry host as users write it, such as ghcr.io or registry.local:5000',
    'c.yaml:22: upstreams.quay.io: must be a mapping of keys to values',
    'c.yaml:24: timeouts.connect: must be more than 0s and at most 24d',
    'c.yaml:26: limits.manifestSize: must be more than 0B and at most 1GiB',
    'c.yaml:27: limits.redirects: must be a whole number from 0 to 20',
    'c.yaml:28: log.level: must be debug, info, warn, error or silent',
  ])
})

const refused: readonly (readonly [text: string, problem: string])[] = [
  ['[1]', 'c.yaml: must be a mapping of keys to values'],
  ['upstreams: {}', 'c.yaml:1: upstreams: must name at least one registry'],
  ['\nupstreams:', 'c.yaml:2: upstreams: must be a mapping of keys to values'],
  ['upstreams: {ghcr.io: }', 'c.yaml: defaultUpstream: must be one of the upstreams (ghcr.io), not "docker.io"'],
  ['metadata: {url: redis://x}', 'c.yaml:1: metadata.kind: must be sqlite or redis'],
  ['metadata:\n  kind: redis', 'c.yaml:1: metadata.url: is missing'],
  ['storage: {maxSize: 0B}', 'c.yaml:1: storage.maxSize: must be more than 0B'],
  [
    'upstreams:\n  docker.io: {url: https://h/v2/}',
    'c.yaml:2: upstreams.docker.io.url: must end before /v2/, and have no query or fragment',
  ],
  [
    'upstreams: {"https://u:hunter2@h": }',
    'c.yaml:1: upstreams.https://***@h: must be a registry host as users write it, such as ghcr.io or registry.local:5000',
  ],
  ['a: 1\na: 2', 'c.yaml:2: not valid YAML: the same key twice'],
  ['a: 1\n---\nb: 2', 'c.yaml:2: not valid YAML: a second document; only one is read'],
  ['a:\n\tb: 1', 'c.yaml:2: not valid YAML: indented with a tab; YAML needs spaces'],
  ['a: "b', 'c.yaml:1: not valid YAML: a closing quote or bracket, or a colon, is missing'],
]

for (const [text, problem] of refused) {
  test(`${JSON.stringify(text)} is refused`, async () => {
    assert.deepEqual((await problems(text)).slice(0, 1), [problem])
  })
}

test('no message contains a secret of the file', async () => {
  const texts = [
    'password: *hunter2',
    'password: !hunter2 x',
    'password: "\\hunter2"',
    'password: "hunter2',
    'password: hunter2: hunter2',
    '%hunter2\n---\na: 1',
    'upstreams: {docker.io: {username: a, password: [hunter2]}}',
    'upstreams: {docker.io: {username: [hunter2], password: {hunter2: 1}}}'.replace('{hunter2: 1}', 'hunter2'),
    'upstreams: {docker.io: {url: "https://u:hunter2@h?x"}}',
    'metadata: {kind: redis, url: "http://:hunter2@h"}',
    'metadata: {kind: redis, url: "redis://:hunter2@h?x=1"}',
    'admin: {token: "hunter2 x"}',
  ]
  for (const text of texts) assert.doesNotMatch((await problems(text)).join('\n'), /hunter2/, text)
})

test('a mapping can be reused by an anchor, and its problems are reported where it is written', async () => {
  const text = 'upstreams:\n  docker.io: &same\n    tagTtl: 1h\n  ghcr.io: *same\n'
  const { upstreams } = await parseConfig(text, 'c.yaml', {})
  assert.deepEqual(
    upstreams.map(({ tagTtl }) => tagTtl),
    [3_600_000, 3_600_000],
  )
  assert.deepEqual(
    (await problems(text.replace('1h', 'soon'))).map((problem) => problem.slice(0, 40)),
    ['c.yaml:3: upstreams.docker.io.tagTtl: mu', 'c.yaml:3: upstreams.ghcr.io.tagTtl: must'],
  )
})

test('an unreadable file is named in one line', async () => {
  await assert.rejects(loadConfig('/absent/config.yaml', {}), {
    name: 'ConfigError',
    message: 'cannot read /absent/config.yaml: no such file or directory',
  })
})

test('any text is accepted or refused with a ConfigError', async () => {
  const piece = fc.constantFrom(
    'listen',
    'upstreams',
    'docker.io',
    ':',
    ' ',
    '\n',
    '  ',
    '{',
    '}',
    '[',
    ']',
    '- ',
    '*a',
    '&a ',
    '!',
    '"',
    '<<',
    '1',
    '__proto__',
    'null',
  )
  const wild = fc.oneof(
    fc.string(),
    fc.array(piece).map((pieces) => pieces.join('')),
  )
  await fc.assert(
    fc.asyncProperty(wild, async (text) => {
      const error = await parseConfig(text, 'c.yaml', {}).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      assert.ok(error === undefined || error instanceof ConfigError, String(error))
    }),
  )
})

test('any value under a known key is accepted or refused with a ConfigError', async () => {
  const text = fc.constantFrom(
    '',
    'x',
    ':1',
    '0.0.0.0:1',
    '5m',
    '8MiB',
    '*',
    '/nowhere',
    'http://h',
    'redis',
    'ghcr.io',
  )
  const value: fc.Arbitrary<unknown> = fc.oneof(text, fc.jsonValue({ maxDepth: 1 }))
  const section = (...keys: string[]) =>
    fc.oneof(value, fc.record(Object.fromEntries(keys.map((key) => [key, value])), { requiredKeys: [] }))
  const upstream = section('url', 'username', 'password', 'passwordFile', 'tokenRealm', 'privateRepositories', 'tagTtl')
  const file = fc.record(
    {
      listen: value,
      basePath: value,
      admin: section('listen', 'token', 'tokenFile', 'hosts'),
      storage: section('kind', 'path'),
      metadata: section('kind', 'url', 'commandTimeout'),
      defaultUpstream: value,
      upstreams: fc.oneof(value, fc.record({ 'docker.io': upstream, 'ghcr.io': upstream }, { requiredKeys: [] })),
      timeouts: section('connect', 'client'),
      limits: section('manifestSize', 'redirects'),
      log: section('level'),
    },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(file, async (content) => {
      const error = await parseConfig(JSON.stringify(content), 'c.yaml', {}).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      assert.ok(error === undefined || error instanceof ConfigError, String(error))
    }),
    { numRuns: 500 },
  )
})
