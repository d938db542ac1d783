import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { first, Larder } from './cache/support/larder.ts'
import { image, index, randomBlob } from './support/image.ts'
import { startMirror } from './support/mirror.ts'
import { type Ended, entrepot } from './support/program.ts'
import { tempDir } from './support/temp.ts'

const app = `${first}/team/app`
const own = image({ layers: [randomBlob(100_000, 4)] })
const commands = [
  ['stats'],
  ['images'],
  ['purge', 'docker.io'],
  ['pin'],
  ['unpin', 'docker.io/*'],
  ['evict'],
  ['scrub'],
]

/** Runs a command against a mirror, with nothing else to go by. */
function ask(larder: Larder, ...args: string[]): Promise<Ended> {
  return entrepot([...args, '--admin', larder.mirror.adminUrl])
}

function ok(out: string | RegExp, ended: Ended): void {
  assert.deepEqual([ended.status, ended.err], [0, ''])
  if (typeof out === 'string') assert.equal(ended.out, out)
  else assert.match(ended.out, out)
}

suite('The commands for a running mirror', () => {
  test('show, list, pin, purge and clean', async () => {
    await using larder = await Larder.open()
    ok('nothing is cached\n', await ask(larder, 'images'))
    const arm = image({ platform: { os: 'linux', architecture: 'arm64' } })
    await larder.stock(app, '1', index([own, arm]))

    const stats = await ask(larder, 'stats')
    ok(/^store {4}98\.\d KiB of .* in 4 blobs, 0 evicted$/m, stats)
    ok(/^ANSWERS {3}HIT {2}MISS {2}COLLAPSED {2}REVALIDATED {2}STALE$/m, stats)
    ok(/^blob {8}0 {5}2 {10}0 {12}0 {6}0$/m, stats)
    ok(/^registry\.test {2}ok .*not told$/m, stats)
    ok(/^probe {4}entrepot\/probe:\w{16,}$/m, stats)

    ok(/^pinned registry\.test\/team\/app:1\npinned ghcr\.io\/\*\n$/, await ask(larder, 'pin', `${app}:1`, 'ghcr.io/*'))
    ok(`ghcr.io/*\n${app}:1\n`, await ask(larder, 'pin'))
    const images = await ask(larder, 'images', `${first}/`)
    ok(/^IMAGE {20}DIGEST {8}PLATFORMS {11}SIZE {6}UNIQUE {4}LAST USED {10}PINNED\n/, images)
    ok(
      /^registry\.test\/team\/app:1 {2}[\da-f]{12} {2}linux\/amd64 \(of 2\) {2}98\.\d KiB {2}98\.\d KiB .*Z {2}yes$/m,
      images,
    )
    ok('unpinned ghcr.io/*\n', await ask(larder, 'unpin', 'ghcr.io/*'))

    ok('nothing had to go\n', await ask(larder, 'evict'))
    ok('nothing has been scrubbed since the start\n', await ask(larder, 'scrub', '--status'))
    ok('4 blobs checked, 0 damaged, 0 replaced\n', await ask(larder, 'scrub'))
    ok(/^4 blobs checked, 0 damaged, 0 replaced, at 2.*Z\n$/, await ask(larder, 'scrub', '--status'))

    const purged = await ask(larder, 'purge', `${app}:1`)
    ok(/^PURGED {19}TAGS {2}BLOBS {5}BYTES\nregistry\.test\/team\/app:1 {5}1 {6}4 {2}98\.\d KiB\n$/, purged)
    ok('nothing is cached\n', await ask(larder, 'images'))
  })

  test('purge repositories, upstreams and digests by how they are written', async () => {
    await using larder = await Larder.open()
    for (const name of [app, first, own.manifest.digest]) {
      await larder.stock(app, '1', own)
      ok(/^PURGED/, await ask(larder, 'purge', name))
      assert.deepEqual(await larder.images(), [])
    }
  })

  test('answer programs in JSON', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', own)
    await larder.stock(app, '2', own)
    const answers: unknown[] = []
    for (const args of [
      ['stats'],
      ['images'],
      ['pin', `${app}:1`],
      ['pin'],
      ['unpin', `${app}:1`],
      ['evict'],
      ['scrub'],
      ['scrub', '--status'],
      ['purge', `${app}:1`, `${app}:2`],
    ]) {
      const ended = await ask(larder, ...args, '--json')
      ok(/^[[{].*\n$/, ended)
      answers.push(JSON.parse(ended.out))
    }
    const [stats, images, pinned, pins, unpinned, evicted, scrubbed, scrub, purged] = answers
    assert.equal((stats as { storage: { blobs: number } }).storage.blobs, 3)
    assert.deepEqual(
      (images as { tag: string }[]).map(({ tag }) => tag),
      ['1', '2'],
    )
    assert.deepEqual([pinned, pins, unpinned], [[`${app}:1`], [`${app}:1`], [`${app}:1`]])
    assert.deepEqual(evicted, { blobs: 0, bytes: 0 })
    assert.deepEqual(scrubbed, scrub)
    const [one, two] = purged as { name: string; blobs: number }[]
    assert.deepEqual([one?.name, one?.blobs, two?.name, two?.blobs], [`${app}:1`, 0, `${app}:2`, 3])
  })

  test('fail where what they name is not there', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', own)
    const { status, out, err } = await ask(larder, 'purge', `${app}:9`, `${app}:1`)
    assert.equal(status, 1)
    assert.match(out, /^PURGED.*\nregistry\.test\/team\/app:1 /)
    assert.equal(err, `entrepot: nothing is cached of "${app}:9"\n`)
    assert.deepEqual(await ask(larder, 'unpin', 'ghcr.io/*'), {
      status: 1,
      out: '',
      err: 'entrepot: "ghcr.io/*" is not pinned\n',
    })
    const pin = await ask(larder, 'pin', `${app}:1`)
    assert.equal(pin.status, 1)
    assert.match(pin.err, /^entrepot: nothing is cached of "registry\.test\/team\/app:1"; a pattern with a \* .*\n$/)
  })

  test('fail where a scrub finds what cannot be replaced', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', own)
    await rm(join(larder.mirror.path, 'blobs', ...own.config.digest.split(':')))
    await larder.upstream.stop()
    const { status, out } = await ask(larder, 'scrub')
    assert.deepEqual([status, out], [1, '3 blobs checked, 1 damaged, 0 replaced\n'])
  })

  for (const [args, message] of [
    [['purge', 'alpine'], '"alpine" is not a repository; it is named whole, such as docker.io/library/alpine'],
    [['purge', 'alpine:3'], /^"alpine:3" is not a repository; it is named whole/],
    [['purge', `${app}@sha256:00`], /^a digest is purged by itself/],
    [['purge', 'sha256:00'], /^"sha256:00" is no digest/],
    [['purge', '../../../livez'], /is not a repository/],
    [['pin', 'alpine'], /^"alpine" is neither an image nor a pattern of them/],
    [['images', 'A B'], /^"A B" is not how a repository begins/],
    [['purge'], 'purge wants NAME…; see entrepot purge --help'],
    [['unpin'], 'unpin wants PATTERN…; see entrepot unpin --help'],
    [['images', 'a', 'b'], 'images takes one PREFIX at most; see entrepot images --help'],
    [['evict', 'all'], /^Unexpected argument 'all'.*; see entrepot evict --help$/],
    [['stats', '--watch'], "Unknown option '--watch'; see entrepot stats --help"],
  ] as const) {
    test(`do not understand ${args.join(' ')}`, async () => {
      await using larder = await Larder.open()
      const { status, out, err } = await ask(larder, ...args)
      assert.deepEqual([status, out], [2, ''])
      const line = /^entrepot: (.*)\n$/.exec(err)?.[1] ?? err
      if (typeof message === 'string') assert.equal(line, message)
      else assert.match(line, message)
    })
  }
})

suite('Where the mirror is', () => {
  test('is told by a URL, an address, or its configuration, the environment over it', async () => {
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
      ok('nothing is cached\n', await entrepot(['images', ...args], environment))
    }
  })

  test('is not to be had: every command says so in one line', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const url = `http://127.0.0.1:${port}`
    for (const args of commands) {
      const expected = { status: 1, out: '', err: `entrepot: cannot reach a mirror at ${url}: nothing listens there\n` }
      assert.deepEqual(await entrepot([...args, '--admin', url]), expected)
    }
  })

  test('is something else', async () => {
    await using server = createServer((_request, response) => response.end('<p>hello</p>'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const err = `entrepot: no admin listener of a mirror: ${url} (200)\n`
    assert.deepEqual(await entrepot(['stats', '--admin', url]), { status: 1, out: '', err })
  })

  for (const url of ['ftp://x', 'http://', 'http://127.0.0.1:0', 'http://user@host', 'http://host/?a=1', '']) {
    test(`cannot be ${JSON.stringify(url)}`, async () => {
      const { status, err } = await entrepot(['stats', '--admin', url])
      assert.equal(status, 2)
      assert.match(err, /^entrepot: --admin wants a URL such as http:\/\/127\.0\.0\.1:5001, not ".*"\n$/)
    })
  }

  test('is said to be refused with a bad configuration', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'config.yaml')
    await writeFile(file, 'listen: nowhere\n')
    const { status, err } = await entrepot(['stats', '--config', file])
    assert.equal(status, 1)
    assert.match(err, /^.*config\.yaml:1: listen: must be host:port/)
  })
})

suite('A token', () => {
  test('is wanted by every command', async () => {
    const config = { admin: { listen: '127.0.0.1:0', token: 'correct-horse' } }
    await using mirror = await startMirror({ upstreams: { 'docker.io': 'http://127.0.0.1:1' }, config })
    const { adminUrl } = mirror
    for (const args of commands) {
      const asked = [...args, '--admin', adminUrl]
      const absent = await entrepot(asked)
      const wanted = `entrepot: ${adminUrl} wants a token: $ENTREPOT_ADMIN_TOKEN or --token\n`
      assert.deepEqual(absent, { status: 1, out: '', err: wanted })
      const wrong = await entrepot(asked, { ENTREPOT_ADMIN_TOKEN: 'wrong' })
      assert.deepEqual(wrong, { status: 1, out: '', err: `entrepot: ${adminUrl} does not take this token\n` })
      const right = await entrepot([...asked, '--token', 'correct-horse'], { ENTREPOT_ADMIN_TOKEN: 'wrong' })
      assert.doesNotMatch(right.err, /token/)
    }
    ok(
      'nothing is cached\n',
      await entrepot(['images', '--admin', adminUrl], { ENTREPOT_ADMIN_TOKEN: 'correct-horse' }),
    )
  })

  test('is demanded of a mirror whose admin listener others can reach', async () => {
    await using dir = await tempDir()
    const environment = { ENTREPOT_ADMIN_LISTEN: '0.0.0.0:0', ENTREPOT_STORAGE_PATH: dir.path }
    const { status, out, err } = await entrepot(['serve'], environment)
    assert.deepEqual([status, out], [1, ''])
    const reason = 'must be set (or tokenFile, or ENTREPOT_ADMIN_TOKEN): 0.0.0.0:0 is not a loopback address'
    assert.equal(err, `admin.token: ${reason}\n`)
  })
})
