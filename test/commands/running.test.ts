import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { first, Larder } from '../cache/support/larder.ts'
import { image, index, randomBlob } from '../support/image.ts'
import { type Ended, run } from './support/run.ts'

const app = `${first}/team/app`
const own = image({ layers: [randomBlob(100_000, 4)] })

/** Runs a command with only the mirror's admin address. */
function ask(larder: Larder, ...args: string[]): Promise<Ended> {
  return run([...args, '--admin', larder.mirror.adminUrl])
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
    ok(/^registry\.test {2}ok .*unknown$/m, stats)
    ok(/^probe {4}entrepot\/probe:\w{16,}$/m, stats)

    ok(/^pinned registry\.test\/team\/app:1\npinned ghcr\.io\/\*\n$/, await ask(larder, 'pin', `${app}:1`, 'ghcr.io/*'))
    ok(`ghcr.io/*\n${app}:1\n`, await ask(larder, 'pin'))
    const images = await ask(larder, 'images', `${first}/`)
    ok(/^IMAGE +DIGEST +PLATFORMS +SIZE +UNIQUE +LAST USED +PINNED\n/, images)
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
    ok(/^PURGED +TAGS +BLOBS +BYTES\nregistry\.test\/team\/app:1 +1 +4 +98\.\d KiB\n$/, purged)
    ok('nothing is cached\n', await ask(larder, 'images'))
  })

  test('purge repositories, upstreams and digests, distinguished by their form', async () => {
    await using larder = await Larder.open()
    for (const name of [app, first, own.manifest.digest]) {
      await larder.stock(app, '1', own)
      ok(/^PURGED/, await ask(larder, 'purge', name))
      assert.deepEqual(await larder.images(), [])
    }
  })

  test('print JSON with --json', async () => {
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

  test('fail if a name is unknown', async () => {
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

  test('fail if a scrub finds damage that cannot be repaired', async () => {
    await using larder = await Larder.open()
    await larder.stock(app, '1', own)
    await rm(join(larder.mirror.path, 'blobs', ...own.config.digest.split(':')))
    await larder.upstream.stop()
    const { status, out } = await ask(larder, 'scrub')
    assert.equal(status, 1)
    assert.match(out, /^\d blobs checked, 1 damaged, 0 replaced\n$/)
  })

  for (const [args, message] of [
    [['purge', 'alpine'], '"alpine" is not a repository; use its full name, such as docker.io/library/alpine'],
    [['purge', `${app}@sha256:00`], /^to purge a digest/],
    [['purge', 'sha256:00'], /^"sha256:00" is not a digest/],
    [['purge', '../../../livez'], /is not a repository/],
    [['purge', '..'], '".." is not a name'],
    [['unpin', ''], '"" is not a name'],
    [['pin', 'alpine'], /^"alpine" is neither an image nor a pattern of images/],
    [['images', 'A B'], /^"A B" is not the start of a repository name/],
    [['purge'], 'purge needs NAME…; see entrepot purge --help'],
    [['unpin'], 'unpin needs PATTERN…; see entrepot unpin --help'],
    [['images', 'a', 'b'], 'images needs [PREFIX]; see entrepot images --help'],
    [['evict', 'all'], /^Unexpected argument 'all'.*; see entrepot evict --help$/],
    [['stats', '--watch'], "Unknown option '--watch'; see entrepot stats --help"],
  ] as const) {
    test(`refuse ${args.join(' ')}`, async () => {
      await using larder = await Larder.open()
      const { status, out, err } = await ask(larder, ...args)
      assert.deepEqual([status, out], [2, ''])
      const line = /^entrepot: (.*)\n$/.exec(err)?.[1] ?? err
      if (typeof message === 'string') assert.equal(line, message)
      else assert.match(line, message)
    })
  }
})
