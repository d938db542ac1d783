import assert from 'node:assert/strict'
import { pbkdf2 } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { type FileHandle, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { nothingMoved } from '../../src/storage/blob-store.ts'
import { Sendfile } from '../../src/storage/sendfile.ts'
import { randomBlob } from '../support/image.ts'
import { openSockets } from '../support/open-files.ts'
import { connectPair, pairServer, type SocketPair, socketPair } from '../support/socket-pair.ts'
import { tempDir } from '../support/temp.ts'

const KiB = 1024
const MiB = 1024 * KiB
const content = randomBlob(6 * MiB + 5)
const loaded = Sendfile.load()
const skip = loaded ? false : 'sendfile(2) cannot be called here'

async function contentFile(name = 'content', flags = 'r') {
  const dir = await tempDir()
  const path = join(dir.path, name)
  await writeFile(path, content)
  const file = await open(path, flags)
  return {
    fd: file.fd,
    folder: dir.path,
    async [Symbol.asyncDispose]() {
      await file.close()
      await dir[Symbol.asyncDispose]()
    },
  }
}

describe('Sendfile', { skip }, () => {
  const sendfile = loaded as Sendfile

  /** All that is asked for, as often as it takes; what is moved is received meanwhile. */
  async function moveAll(file: number, pair: SocketPair, start: number, length: number): Promise<Buffer> {
    const received = pair.theirs.receive(length)
    for (let at = start; at < start + length; ) {
      const moved = await sendfile.move(file, pair.ours.fd, { position: at, length: start + length - at })
      at += moved.bytes
      if (moved.bytes === 0) await new Promise((resolve) => setImmediate(resolve))
      assert.ok(at <= start + length)
      // Too short a rest is not for it.
      if (start + length - at < 16 * KiB && at < start + length) {
        await pair.ours.write(content.subarray(at, start + length))
        break
      }
    }
    return await received
  }

  it('moves the bytes that were asked for, from any place', async () => {
    await using file = await contentFile()
    await using pair = await socketPair()
    for (const [start, length] of [
      [0, 16 * KiB],
      [1, 20_000],
      [4095, 64 * KiB + 1],
      [content.length - 30_000, 30_000],
      [0, content.length],
      [MiB + 1, 5 * MiB],
    ] as const) {
      const got = await moveAll(file.fd, pair, start, length)
      assert.ok(got.equals(content.subarray(start, start + length)), `${length} bytes at ${start}`)
    }
  })

  it('moves from beyond 4 GiB', async () => {
    await using dir = await tempDir()
    await using file: FileHandle = await open(join(dir.path, 'sparse'), 'w+')
    const position = 5 * 1024 * MiB + 3
    await file.write(content, 0, 32 * KiB, position)
    await using pair = await socketPair()
    const moved = await sendfile.move(file.fd, pair.ours.fd, { position, length: 32 * KiB })
    assert.deepEqual(moved, { bytes: 32 * KiB, full: false })
    assert.ok((await pair.theirs.receive(32 * KiB)).equals(content.subarray(0, 32 * KiB)))
  })

  it('moves a part when the connection takes no more, nothing after that, and goes on when it does again', async () => {
    await using file = await contentFile()
    await using pair = await socketPair()
    const sent: Buffer[] = []
    let total = 0
    const until = async (isOver: (moved: { bytes: number; full: boolean }) => boolean): Promise<void> => {
      for (;;) {
        const moved = await sendfile.move(file.fd, pair.ours.fd, { position: 7, length: 4 * MiB })
        total += moved.bytes
        sent.push(content.subarray(7, 7 + moved.bytes))
        if (isOver(moved)) return
      }
    }
    await until(({ full }) => full)
    assert.ok(total > 0)
    await until(({ bytes }) => bytes === 0)
    assert.deepEqual(await sendfile.move(file.fd, pair.ours.fd, { position: 7, length: MiB }), nothingMoved)
    const first = await pair.theirs.receive(total)
    assert.ok(first.equals(Buffer.concat(sent)))
    const again = await moveAll(file.fd, pair, 9, 2 * MiB)
    assert.ok(again.equals(content.subarray(9, 9 + 2 * MiB)))
  })

  it('says so where the file ends before', async () => {
    await using file = await contentFile()
    await using pair = await socketPair()
    const { length } = content
    const short = await sendfile.move(file.fd, pair.ours.fd, { position: length - 20_000, length: 30_000 })
    assert.deepEqual(short, { bytes: 20_000, full: true })
    for (const position of [length, length + 1, 2 ** 40]) {
      assert.deepEqual(await sendfile.move(file.fd, pair.ours.fd, { position, length: 30_000 }), nothingMoved)
    }
  })

  it('leaves to others what is not worth it', async () => {
    await using file = await contentFile()
    await using pair = await socketPair()
    for (const length of [0, 1, 16 * KiB - 1]) {
      assert.deepEqual(await sendfile.move(file.fd, pair.ours.fd, { position: 0, length }), nothingMoved)
    }
    pair.ours.socket.end('all')
    assert.equal(String(await pair.theirs.receive(100)), 'all')
  })

  it('moves nothing, and never rejects, where a descriptor or a place is bad', async () => {
    await using file = await contentFile()
    await using writeOnly = await contentFile('content', 'a')
    await using pair = await socketPair()
    const folder = openSync(file.folder, 'r')
    const before = await openSockets()
    const span = { position: 0, length: MiB }
    for (const [from, to, where] of [
      [999_999, pair.ours.fd, span],
      [-1, pair.ours.fd, span],
      [folder, pair.ours.fd, span],
      [writeOnly.fd, pair.ours.fd, span],
      [file.fd, 999_999, span],
      [file.fd, -1, span],
      [file.fd, folder, span],
      [file.fd, pair.ours.fd, { position: -1, length: MiB }],
      [file.fd, pair.ours.fd, { position: 0, length: -1 }],
    ] as const) {
      assert.deepEqual(await sendfile.move(from, to, where), nothingMoved)
    }
    closeSync(folder)
    assert.equal(await openSockets(), before)
    // None of it has counted as a call that still runs.
    assert.equal((await sendfile.move(file.fd, pair.ours.fd, { position: 0, length: 16 * KiB })).bytes, 16 * KiB)
  })

  it('moves nothing to a client that has left', async () => {
    await using file = await contentFile()
    await using pair = await socketPair()
    pair.theirs.socket.resetAndDestroy()
    await pair.theirs.close()
    assert.deepEqual(await sendfile.move(file.fd, pair.ours.fd, { position: 0, length: MiB }), nothingMoved)
  })

  it('lets those who come on top wait, and closes what it opened for each', async () => {
    await using file = await contentFile()
    await using pair = await socketPair()
    const before = await openSockets()
    for (let round = 0; round < 3; round += 1) {
      const moves = Array.from({ length: 40 }, () =>
        sendfile.move(file.fd, pair.ours.fd, { position: 0, length: 16 * KiB }),
      )
      const received = await pair.theirs.receive(40 * 16 * KiB)
      for (const { bytes } of await Promise.all(moves)) assert.equal(bytes, 16 * KiB)
      for (let at = 0; at < received.length; at += 16 * KiB) {
        assert.ok(received.subarray(at, at + 16 * KiB).equals(content.subarray(0, 16 * KiB)))
      }
      assert.equal(await openSockets(), before)
    }
  })

  it('gives nothing to the connection that comes after the one it was for, with the same number', async (test) => {
    await using file = await contentFile()
    const server = await pairServer()
    let reused = 0
    for (let round = 0; round < 5; round += 1) {
      await using first = await connectPair(server)
      const { fd } = first.ours
      // The calls wait behind these.
      const busy = Array.from({ length: 8 }, () => promisify(pbkdf2)('a', 'b', 20_000, 64, 'sha512'))
      const moves = Array.from({ length: 4 }, () => sendfile.move(file.fd, fd, { position: 0, length: MiB }))
      await first.ours.close()
      await using second = await connectPair(server)
      const ends = [second.ours, second.theirs]
      if (ends.some((end) => end.fd === fd)) reused += 1
      await Promise.all([...busy, ...moves])
      for (const end of ends) end.socket.end()
      for (const end of ends) assert.equal((await end.receive(1)).length, 0)
    }
    server.close()
    test.diagnostic(`the number came again in ${reused} of 5 rounds`)
  })
})
