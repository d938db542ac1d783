import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { Larder } from '../cache/support/larder.ts'
import { startMirror } from '../support/mirror.ts'
import { entrepot } from '../support/program.ts'
import { tempDir } from '../support/temp.ts'
import { type Ended, run } from './support/run.ts'

const commands = [
  ['stats'],
  ['images'],
  ['purge', 'docker.io'],
  ['pin'],
  ['unpin', 'docker.io/*'],
  ['evict'],
  ['scrub'],
]

function ok(out: string | RegExp, ended: Ended): void {
  assert.deepEqual([ended.status, ended.err], [0, ''])
  if (typeof out === 'string') assert.equal(ended.out, out)
  else assert.match(ended.out, out)
}

suite('The admin address', () => {
  test('comes from a URL, an address, or the configuration under the environment', async () => {
    await using larder = await Larder.open()
    await using dir = await tempDir()
    const address = new URL(larder.mirror.adminUrl).host
    const file = join(dir.path, 'config.yaml')
    await writeFile(file, `admin: {listen: "${address}"}\n`)
    for (const [args, environment] of [
      [['--admin', address], {}],
      [['--admin', `http://${address}/`], {}],
      [['--config', file], {}],
      [[], { ENTREPOT_CONFIG: file }],
      [[], { ENTREPOT_ADMIN_LISTEN: address }],
      [[], { ENTREPOT_ADMIN_LISTEN: `:${address.split(':')[1]}`, ENTREPOT_ADMIN_TOKEN: 'unused' }],
      [['--config', file], { ENTREPOT_ADMIN_LISTEN: '', ENTREPOT_ADMIN_TOKEN: '' }],
    ] as const) {
      ok('nothing is cached\n', await run(['images', ...args], { environment }))
    }
  })

  test('that nothing answers fails every command, in one line', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const url = `http://127.0.0.1:${port}`
    for (const args of commands) {
      const expected = { status: 1, out: '', err: `entrepot: cannot reach a mirror at ${url}: nothing listens there\n` }
      assert.deepEqual(await run([...args, '--admin', url]), expected)
    }
  })

  test('of another server is refused', async () => {
    await using server = createServer((_request, response) => response.end('<p>hello</p>'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const err = `entrepot: ${url} is not the admin listener of a mirror (200)\n`
    assert.deepEqual(await run(['stats', '--admin', url]), { status: 1, out: '', err })
  })

  for (const url of ['ftp://x', 'http://', 'http://127.0.0.1:0', 'http://user@host', 'http://host/?a=1', '']) {
    test(`cannot be ${JSON.stringify(url)}`, async () => {
      const { status, err } = await run(['stats', '--admin', url])
      assert.equal(status, 2)
      assert.match(err, /^entrepot: --admin must be a URL such as http:\/\/127\.0\.0\.1:5001, not ".*"\n$/)
    })
  }

  test('is not read from an invalid configuration', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'config.yaml')
    await writeFile(file, 'listen: nowhere\n')
    const { status, err } = await run(['stats', '--config', file])
    assert.equal(status, 1)
    assert.match(err, /^.*config\.yaml:1: listen: must be host:port/)
  })
})

suite('A token', () => {
  test('is needed by every command', async () => {
    const config = { admin: { listen: '127.0.0.1:0', token: 'correct-horse' } }
    await using mirror = await startMirror({ upstreams: { 'docker.io': 'http://127.0.0.1:1' }, config })
    const { adminUrl } = mirror
    for (const args of commands) {
      const asked = [...args, '--admin', adminUrl]
      const absent = await run(asked)
      const wanted = `entrepot: ${adminUrl} needs a token: $ENTREPOT_ADMIN_TOKEN or --token\n`
      assert.deepEqual(absent, { status: 1, out: '', err: wanted })
      const wrong = await run(asked, { environment: { ENTREPOT_ADMIN_TOKEN: 'wrong' } })
      assert.deepEqual(wrong, { status: 1, out: '', err: `entrepot: ${adminUrl} does not accept this token\n` })
      const right = await run([...asked, '--token', 'correct-horse'], {
        environment: { ENTREPOT_ADMIN_TOKEN: 'wrong' },
      })
      assert.doesNotMatch(right.err, /token/)
    }
    ok(
      'nothing is cached\n',
      await run(['images', '--admin', adminUrl], { environment: { ENTREPOT_ADMIN_TOKEN: 'correct-horse' } }),
    )
  })

  test('is required in the configuration of a listener that others can reach', async () => {
    await using dir = await tempDir()
    const environment = { ENTREPOT_ADMIN_LISTEN: '0.0.0.0:0', ENTREPOT_STORAGE_PATH: dir.path }
    const { status, out, err } = await entrepot(['serve'], environment)
    assert.deepEqual([status, out], [1, ''])
    const reason = 'must be set (or tokenFile, or ENTREPOT_ADMIN_TOKEN): 0.0.0.0:0 is not a loopback address'
    assert.equal(err, `admin.token: ${reason}\n`)
  })
})
