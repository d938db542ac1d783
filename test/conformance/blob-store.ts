import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { BlobStore, StoredBlob } from '../../src/storage/blob-store.ts'
import { type BodyReader, ReaderClosed } from '../../src/storage/body-reader.ts'
import type { SendfilePool } from '../../src/storage/sendfile/sendfile-pool.ts'
import type { Spool } from '../../src/storage/spool/spool.ts'
import { randomBlob } from '../support/image.ts'
import { untilMoving } from '../support/moving.ts'
import { openFiles } from '../support/open-files.ts'
import { type SocketPair, socketPair } from '../support/socket-pair.ts'

export interface BlobStoreUnderTest extends AsyncDisposable {
  readonly store: BlobStore
  createSpool(): Promise<Spool>
  /** Where it has its files. */
  readonly path: string
  /** What moves its bytes; where there is nothing, they are read. */
  readonly sending: SendfilePool | undefined
  /** Whether it opens without waiting what is in memory. */
  readonly opensCached: boolean
}

/** What every BlobStore has to do, whatever it is made of. */
export function blobStoreConformance(name: string, create: () => Promise<BlobStoreUnderTest>): void {
  async function adopt(
    { store, createSpool }: BlobStoreUnderTest,
    body: Buffer,
    note?: StoredBlob['note'],
  ): Promise<Digest> {
    const spool = await createSpool()
    await spool.append(body)
    spool.release()
    const digest = digestOf(body)
    const info = await store.adopt(digest, spool, note)
    await spool.close()
    assert.deepEqual(info, { digest, size: body.length })
    return digest
  }

  describe(`${name} as a BlobStore`, () => {
    it('has no blob that was never adopted', async () => {
      await using test = await create()
      const digest = digestOf(Buffer.from('absent'))
      assert.equal(await test.store.stat(digest), undefined)
      assert.equal(await test.store.open(digest), undefined)
      assert.equal(test.store.tryCached(digest), undefined)
      await test.store.delete(digest)
    })

    it('returns what it adopted, whole and by range', async () => {
      await using test = await create()
      const body = Buffer.from('0123456789'.repeat(100_000))
      const digest = await adopt(test, body)
      assert.deepEqual(await test.store.stat(digest), { digest, size: body.length })
      assert.ok((await readRange(test.store, digest, 0, body.length - 1)).equals(body))
      assert.deepEqual(await readRange(test.store, digest, 999_995, 999_999), Buffer.from('56789'))
      assert.deepEqual(await readRange(test.store, digest, 3, 3), Buffer.from('3'))
    })

    it('keeps an empty blob', async () => {
      await using test = await create()
      const digest = await adopt(test, Buffer.alloc(0))
      assert.deepEqual(await test.store.stat(digest), { digest, size: 0 })
      assert.equal((await readRange(test.store, digest, 0, -1)).length, 0)
    })

    it('adopts a blob that is stored already, and merges the repositories in its note', async () => {
      await using test = await create()
      const body = Buffer.from('{}')
      const mediaType = 'application/vnd.oci.image.index.v1+json'
      await adopt(test, body, { mediaType, repositories: { 'a.test/x': 'public', 'a.test/y': 'unproven' } })
      const digest = await adopt(test, body, {
        mediaType,
        repositories: { 'a.test/x': 'unproven', 'a.test/z': 'public' },
      })
      const [stored, ...others] = await Array.fromAsync(test.store.list())
      assert.deepEqual(others, [])
      assert.deepEqual(stored, {
        digest,
        size: 2,
        note: { mediaType, repositories: { 'a.test/x': 'public', 'a.test/y': 'unproven', 'a.test/z': 'public' } },
      })
    })

    it('lets readers finish after a delete', async () => {
      await using test = await create()
      const body = Buffer.alloc(3_000_000, 7)
      const digest = await adopt(test, body)
      const opened = await test.store.open(digest)
      assert.ok(opened)
      await test.store.delete(digest)
      assert.equal(await test.store.stat(digest), undefined)
      assert.deepEqual(await Array.fromAsync(test.store.list()), [])
      assert.ok((await drain(opened.reader({ start: 0, end: body.length - 1 }))).equals(body))
    })

    it('opens without waiting what it has just adopted, if it does so at all, and that outlives a deletion', async () => {
      await using test = await create()
      const body = randomBlob(3_000_000)
      const digest = await adopt(test, body)
      const [first, second] = [test.store.tryCached(digest), test.store.tryCached(digest)]
      assert.deepEqual(
        [first?.size, second?.size],
        test.opensCached ? [body.length, body.length] : [undefined, undefined],
      )
      assert.equal(await openFiles(test.path), test.opensCached ? 2 : 0)
      await second?.close()
      await test.store.delete(digest)
      assert.equal(test.store.tryCached(digest), undefined)
      if (first) assert.ok((await drain(first.reader({ start: 5, end: body.length - 1 }))).equals(body.subarray(5)))
      assert.equal(await openFiles(test.path), 0)
    })

    it('lists every blob, with notes for manifests and none for the rest', async () => {
      await using test = await create()
      const digests = new Set<Digest>()
      for (let i = 0; i < 20; i += 1) digests.add(await adopt(test, Buffer.from(`blob ${i}`)))
      const listed = await Array.fromAsync(test.store.list())
      assert.deepEqual(new Set(listed.map(({ digest }) => digest)), digests)
      assert.ok(listed.every(({ note }) => note === undefined))
    })

    it('rejects a read from a closed reader, which may be closed twice', async () => {
      await using test = await create()
      const digest = await adopt(test, Buffer.from('some bytes'))
      const opened = await test.store.open(digest)
      assert.ok(opened)
      const reader = opened.reader({ start: 0, end: 9 })
      await reader.close()
      await reader.close()
      await assert.rejects(reader.read(), ReaderClosed)
      await using pair = await socketPair()
      await assert.rejects(
        reader.transfer(() => pair.ours.fd, 10),
        ReaderClosed,
      )
      assert.equal(await openFiles(test.path), 0)
    })

    it('moves ranges into a connection, in turn with reads', async () => {
      await using test = await create()
      await untilMoving(test.sending)
      const body = randomBlob(3_000_001)
      const digest = await adopt(test, body)
      for (const [start, end, most] of [
        [0, body.length - 1, body.length],
        [0, body.length - 1, 300_000],
        [1, 1, 1],
        [4095, 1_000_000, 500_000],
        [2_500_000, body.length - 1, 1_000_000],
      ] as const) {
        const opened = await test.store.open(digest)
        assert.ok(opened)
        await using pair = await socketPair()
        const received = pair.theirs.receive(body.length)
        const { sent, moved } = await send(opened.reader({ start, end }), pair, most)
        assert.equal(sent, end + 1 - start)
        assert.ok((await received).equals(body.subarray(start, end + 1)))
        // The first of them, at least.
        if (test.sending && most > 1) assert.ok(moved >= Math.min(most, end + 1 - start))
        else assert.equal(moved, 0)
      }
      assert.equal(await openFiles(test.path), 0)
    })

    it('moves a blob that is deleted meanwhile', async () => {
      await using test = await create()
      await untilMoving(test.sending)
      const body = randomBlob(3_000_000)
      const digest = await adopt(test, body)
      const opened = await test.store.open(digest)
      assert.ok(opened)
      await using pair = await socketPair()
      const reader = opened.reader({ start: 0, end: body.length - 1 })
      const { bytes } = await reader.transfer(() => pair.ours.fd, 300_000)
      assert.equal(bytes, test.sending ? 300_000 : 0)
      await test.store.delete(digest)
      const received = pair.theirs.receive(body.length)
      const { moved } = await send(reader, pair, 300_000)
      assert.equal(moved > 0, test.sending !== undefined)
      assert.ok((await received).equals(body))
    })

    it('ends a running transfer when its reader is closed, and leaves nothing open', async () => {
      await using test = await create()
      await untilMoving(test.sending)
      // More than a connection takes while nobody reads from it.
      const body = Buffer.alloc(40_000_000, randomBlob(1_000_003))
      const digest = await adopt(test, body)
      const opened = await test.store.open(digest)
      assert.ok(opened)
      await using pair = await socketPair()
      const reader = opened.reader({ start: 0, end: body.length - 1 })
      let isOver = false
      const running = reader
        .transfer(() => pair.ours.fd, body.length)
        .finally(() => {
          isOver = true
        })
      const first = test.sending ? await pair.theirs.receive(1_000_000) : Buffer.alloc(0)
      assert.ok(!isOver)
      await reader.close()
      assert.ok(isOver)
      assert.equal(await openFiles(test.path), 0)
      const { bytes, full } = await running
      assert.ok(full && bytes < body.length)
      pair.ours.socket.end()
      const all = Buffer.concat([first, await pair.theirs.receive(body.length)])
      assert.ok(all.equals(body.subarray(0, bytes)))
    })
  })
}

/** Moves some, reads some, until the end; resolves to the bytes sent, and those of them that were moved. */
async function send(reader: BodyReader, pair: SocketPair, most: number): Promise<{ sent: number; moved: number }> {
  let [sent, moved] = [0, 0]
  for (;;) {
    const { bytes } = await reader.transfer(() => pair.ours.fd, most)
    moved += bytes
    sent += bytes
    const chunk = await reader.read()
    if (!chunk) break
    await pair.ours.write(chunk)
    sent += chunk.length
  }
  await reader.close()
  pair.ours.socket.end()
  return { sent, moved }
}

async function readRange(store: BlobStore, digest: Digest, start: number, end: number): Promise<Buffer> {
  const opened = await store.open(digest)
  assert.ok(opened)
  return drain(opened.reader({ start, end }))
}

async function drain(reader: BodyReader): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
  } finally {
    await reader.close()
  }
  return Buffer.concat(chunks)
}
