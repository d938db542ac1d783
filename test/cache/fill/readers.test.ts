import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { watched } from '../../../src/cache/fill/readers.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { DataFolder } from '../../../src/storage/data-folder.ts'
import { FileStore } from '../../../src/storage/file-store.ts'
import { IoThreads } from '../../../src/storage/io-threads.ts'
import { pathOf } from '../../../src/storage/layout.ts'
import { isCorked } from '../../support/corked.ts'
import { randomBlob } from '../../support/image.ts'
import { untilMoving } from '../../support/moving.ts'
import { socketPair } from '../../support/socket-pair.ts'
import { tempDir } from '../../support/temp.ts'

const ioThreads = new IoThreads()
after(() => ioThreads[Symbol.asyncDispose]())
const skip = ioThreads.sending ? false : 'sendfile(2) cannot be called here'

describe('a stored blob that is watched', { skip }, () => {
  before(() => untilMoving(ioThreads.sending))

  it('is corked, moved and read as it would be without, and tells of its end', async () => {
    await using dir = await tempDir()
    using _folder = await DataFolder.open(dir.path)
    await using pair = await socketPair()
    const content = randomBlob(1_000_000)
    const digest = digestOf(content)
    await writeFile(pathOf(dir.path, { kind: 'blob', digest }), content)
    const blob = await new FileStore(dir.path, ioThreads).open(digest)
    let left = 0
    const reader = watched(blob ?? assert.fail(), () => {
      left += 1
    }).reader({ start: 0, end: content.length - 1 })
    const uncork = reader.cork(pair.ours.fd)
    assert.ok(isCorked(pair.ours.fd))
    const received = pair.theirs.receive(900_000)
    assert.deepEqual(await reader.transfer(() => pair.ours.fd, 900_000), { bytes: 900_000, full: false })
    uncork?.()
    assert.ok((await received).equals(content.subarray(0, 900_000)))
    assert.ok((await reader.read())?.equals(content.subarray(900_000, 900_000 + 4 * 1024)))
    assert.equal(left, 0)
    await reader.close()
    assert.equal(left, 1)
  })
})
