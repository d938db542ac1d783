import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { PinFile } from '../../src/metadata/pin-file.ts'
import { parsePins } from '../../src/metadata/records.ts'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import { parsePin } from '../../src/oci/pin.ts'
import { tempDir } from '../support/temp.ts'
import { writeVersionTwo } from './sqlite/version-two.ts'

const pattern = 'docker.io/library/alpine:3.20'
const other = 'ghcr.io/*'

suite('A file of pins', () => {
  test('is made with the first pin, for its owner alone, and has them in order', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'pins.json')
    const pins = PinFile.open({ path, earlier: [] })
    assert.deepEqual(pins.list(), [])
    assert.deepEqual(readdirSync(dir.path), [])
    assert.equal(pins.add(other), true)
    assert.equal(pins.add(pattern), true)
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { pins: [pattern, other] })
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.deepEqual(PinFile.open({ path, earlier: ['quay.io/*'] }).list(), [pattern, other])
    assert.equal(pins.delete(other), true)
    assert.deepEqual(PinFile.open({ path, earlier: [] }).list(), [pattern])
    assert.deepEqual(readdirSync(dir.path), ['pins.json'])
  })

  test('is written only when pins change', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'pins.json')
    const pins = PinFile.open({ path, earlier: [] })
    pins.add(pattern)
    const { ino } = statSync(path)
    assert.equal(pins.add(pattern), false)
    assert.equal(pins.delete(other), false)
    assert.equal(statSync(path).ino, ino)
    pins.add(other)
    assert.notEqual(statSync(path).ino, ino)
  })

  test('that cannot be written changes nothing', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'absent', 'pins.json')
    const pins = PinFile.open({ path, earlier: [pattern] })
    assert.throws(() => pins.add(other), /ENOENT/)
    assert.throws(() => pins.delete(pattern), /ENOENT/)
    assert.deepEqual(pins.list(), [pattern])
  })

  for (const [what, damage] of Object.entries<(path: string) => void>({
    empty: (path) => writeFileSync(path, ''),
    half: (path) => writeFileSync(path, '{"pins": ["docker.io'),
    'a list': (path) => writeFileSync(path, `["${pattern}"]`),
    'without pins': (path) => writeFileSync(path, '{"pins": "docker.io/*"}'),
    'too large': (path) => writeFileSync(path, `{"pins": [], "more": "${'x'.repeat(5_000_000)}"}`),
    'a folder': (path) => mkdirSync(path),
  })) {
    test(`that is ${what} is set aside, and the earlier pins are kept`, async () => {
      await using dir = await tempDir()
      const path = join(dir.path, 'pins.json')
      damage(path)
      const reports: unknown[] = []
      const pins = PinFile.open({ path, earlier: [other], onDamage: (setAside) => reports.push(setAside) })
      assert.equal(reports.length, 1)
      assert.deepEqual(
        readdirSync(dir.path).map((name) => join(dir.path, name)),
        reports,
      )
      assert.match(String(reports), /pins\.json\.corrupt-/)
      assert.deepEqual(pins.list(), [other])
      pins.add(pattern)
      assert.deepEqual(PinFile.open({ path, earlier: [] }).list(), [pattern, other])
    })
  }

  test('has pins and nothing else', () => {
    const list = (pins: unknown) => parsePins(Buffer.from(JSON.stringify({ pins })))
    assert.deepEqual(list([pattern, '', 'x', 5, null, [other], { pattern }, 'docker.io/a\r\nb', other]), [
      pattern,
      other,
    ])
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parsePins(Buffer.from(bytes))))
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const pin of list(value) ?? []) assert.ok(parsePin(pin))
      }),
    )
  })
})

suite('Pins of an earlier version', () => {
  const rowsOf = (path: string) => {
    using database = new DatabaseSync(path)
    return database.prepare('SELECT pattern FROM pins').all().length
  }

  test('move from the database into the file, once they can', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    writeVersionTwo(path, { pins: [pattern, other] })
    const failures: unknown[] = []
    const moving = { onFailure: (error: unknown) => failures.push(error) }
    {
      await using store = SqliteStore.open(path, { pins: { path: join(dir.path, 'absent', 'pins.json') }, moving })
      assert.deepEqual(await store.index.pins(), [pattern, other])
      assert.equal(failures.length, 1)
    }
    assert.equal(rowsOf(path), 2)
    const pins = { path: join(dir.path, 'pins.json') }
    for (const opening of ['first', 'second']) {
      await using store = SqliteStore.open(path, { pins, moving })
      assert.deepEqual(await store.index.pins(), [pattern, other], opening)
    }
    assert.equal(rowsOf(path), 0)
    assert.equal(failures.length, 1)
  })

  test('count no longer where there is a file', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'metadata.sqlite')
    const pins = { path: join(dir.path, 'pins.json') }
    PinFile.open({ ...pins, earlier: [] }).add(other)
    writeVersionTwo(path, { pins: [pattern] })
    await using store = SqliteStore.open(path, { pins })
    assert.deepEqual(await store.index.pins(), [other])
    assert.equal(rowsOf(path), 0)
  })
})
