import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { describe, it } from 'node:test'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { DataFolder } from '../../src/storage/data-folder.ts'
import { pathOf } from '../../src/storage/layout.ts'
import { startMirror } from '../support/mirror.ts'
import { tempDir } from '../support/temp.ts'
import { TestUpstream } from '../support/upstream.ts'

const blobs = 100_000

describe('a start with a hundred thousand blobs', () => {
  it('reads none of them, and neither do statistics and metrics', async (test) => {
    await using dir = await tempDir()
    const folder = await DataFolder.open(dir.path)
    const sqlite = SqliteStore.open(pathOf(dir.path, { kind: 'metadata' }))
    await sqlite.index.recordAccesses(
      Array.from({ length: blobs }, (_, at) => ({ digest: digestOf(Buffer.from(`${at}`)), size: 7, at })),
    )
    await sqlite[Symbol.asyncDispose]()
    folder[Symbol.dispose]()

    await using upstream = await TestUpstream.start()
    let listings = 0
    const hook = createHook({
      init: (_id, type) => {
        if (type === 'DIRHANDLE') listings += 1
      },
    }).enable()
    const startedAt = performance.now()
    await using mirror = await startMirror({ upstreams: { 'registry.test': upstream.url }, path: dir.path })
    test.diagnostic(`started in ${(performance.now() - startedAt).toFixed(0)} ms`)
    const { storage } = await mirror.stats()
    assert.deepEqual([storage.used, storage.blobs], [7 * blobs, blobs])
    assert.equal((await fetch(`${mirror.adminUrl}/metrics`)).status, 200)
    hook.disable()
    assert.equal(listings, 0)
  })
})
