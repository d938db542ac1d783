import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { isMediaType } from '../../src/oci/media-type.ts'
import { isFullRepositoryName } from '../../src/oci/reference.ts'
import { maxNoteSize, mergeNotes, parseNote } from '../../src/storage/note.ts'

const note = {
  mediaType: 'application/x',
  repositories: { 'docker.io/library/alpine': 'public', 'ghcr.io/a/b': 'unproven' },
} as const

function parse(value: unknown) {
  return parseNote(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
}

suite('A note', () => {
  test('comes back as it was written', () => {
    assert.deepEqual(parse(note), note)
  })

  for (const [what, value] of [
    ['empty', ''],
    ['half', JSON.stringify(note).slice(0, -9)],
    ['a list', [note]],
    ['null', null],
    ['without a media type', { repositories: {} }],
    ['with a line break in its media type', { ...note, mediaType: 'a/b\r\nx: y' }],
    ['with text for repositories', { ...note, repositories: 'docker.io/a/b' }],
    ['with a list for repositories', { ...note, repositories: ['docker.io/a/b'] }],
    ['without repositories', { mediaType: 'a/b' }],
    ['too long', { ...note, more: 'x'.repeat(maxNoteSize) }],
  ] as const) {
    test(`that is ${what} is none`, () => {
      assert.equal(parse(value), undefined)
    })
  }

  test('loses the repositories that cannot be, and keeps the others', () => {
    const wrong = JSON.parse(
      '{"__proto__": "public", "docker.io": "public", "docker.io/A": "public", "a/b": "public", "docker.io/../a": "public"}',
    )
    const repositories = { ...wrong, ...note.repositories, 'quay.io/a/b': 'secret', 'quay.io/a/c': true }
    assert.deepEqual(parse(JSON.stringify({ ...note, repositories })), note)
  })

  test('of whatever bytes is none, or names what may be asked of an upstream and sent to a client', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseNote(Buffer.from(bytes))))
    const visibility = fc.oneof(fc.constantFrom('public', 'unproven'), fc.jsonValue())
    const name = fc.oneof(fc.constantFrom('docker.io/a/b', 'a:5/b', 'localhost/c'), fc.string())
    const any = fc.record({
      mediaType: fc.oneof(fc.constantFrom('a/b', 'a/b\n'), fc.jsonValue()),
      repositories: fc.oneof(fc.dictionary(name, visibility), fc.jsonValue()),
    })
    fc.assert(
      fc.property(any, (value) => {
        const parsed = parse(JSON.stringify(value))
        if (!parsed) return
        assert.ok(isMediaType(parsed.mediaType))
        for (const [repository, how] of Object.entries(parsed.repositories)) {
          assert.ok(isFullRepositoryName(repository) && ['public', 'unproven'].includes(how))
        }
      }),
    )
  })

  test('keeps what was public when it is written again', () => {
    const again = mergeNotes(note, {
      mediaType: 'application/y',
      repositories: { 'docker.io/library/alpine': 'unproven', 'ghcr.io/a/b': 'public' },
    })
    const repositories = { 'docker.io/library/alpine': 'public', 'ghcr.io/a/b': 'public' }
    assert.deepEqual(again, { mediaType: 'application/y', repositories })
  })
})
