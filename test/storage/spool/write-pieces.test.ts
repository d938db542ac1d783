import assert from 'node:assert/strict'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ring } from '../../../src/storage/spool/ring.ts'
import { RingStart } from '../../../src/storage/spool/ring-ends.ts'
import { patience, piece } from '../../../src/storage/spool/ring-memory.ts'
import { ClockedWriter } from '../../support/clocked.ts'
import { randomBlob } from '../../support/image.ts'
import { tempDir } from '../../support/temp.ts'
import { stayAlive } from '../../support/threads.ts'
import { until } from '../../support/wait.ts'

stayAlive()

const content = randomBlob(12 * piece)
const hang = { timeout: 60_000 }

/** A file that has so many bytes, and is written by a thread whose time stands still. */
async function written(start = 0) {
  const dir = await tempDir()
  const path = join(dir.path, 'file')
  const handle = await open(path, 'wx+')
  await handle.write(content.subarray(0, start))
  const ring = new Ring(start)
  const writer = new ClockedWriter(handle.fd, ring)
  // It has its turns by then.
  await writer.until(0)
  let at = start
  return {
    ring,
    writer,
    clock: writer.clock,
    read: () => readFile(path),
    /** Of what comes next, in chunks. */
    put(bytes: number, most = bytes): void {
      for (const end = at + bytes; at < end; ) {
        const chunk = content.subarray(at, Math.min(at + most, end))
        assert.equal(ring.put(chunk), chunk.length)
        at += chunk.length
        writer.call()
      }
    },
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]()
      ring.close()
      await handle.close()
      await dir[Symbol.asyncDispose]()
    },
  }
}

/** Lets the thread have its turns, called and not. */
async function turns({ writer }: { writer: ClockedWriter }): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    writer.call()
    await sleep(20)
  }
}

describe('a thread that writes', hang, () => {
  for (const start of [0, 1, 77_777, piece, 2 * piece + 5]) {
    it(`writes whole pieces of a file that has ${start} bytes, each by one call, while more may come`, async () => {
      await using file = await written(start)
      const { ring, clock } = file
      // In chunks that end anywhere but there.
      for (let chunk = 0; chunk < 16; chunk += 1) {
        file.put(50_000)
        await sleep(1)
        assert.ok(ring.taken === start || ring.taken % piece === 0, `${ring.taken}`)
      }
      const end = start + 800_000
      const whole = end - (end % piece)
      await until(() => ring.taken === whole, 'the whole pieces')
      await turns(file)
      assert.equal(ring.taken, whole)
      for (const [index, { from, to }] of clock.writes.entries()) {
        assert.equal(from, index === 0 ? start : clock.writes[index - 1]?.to)
        assert.equal(to, from - (from % piece) + piece)
      }
      await file.writer.until('empty')
      assert.deepEqual(clock.writes.at(-1), { from: whole, to: end })
      assert.ok((await file.read()).equals(content.subarray(0, end)))
    })
  }

  it('writes less than a piece by itself, when it has waited for the rest, and waits anew for the next', async () => {
    await using file = await written()
    for (const end of [1000, 2000, piece + 3000]) {
      const before = file.ring.taken
      file.put(end - before)
      const whole = Math.max(before, end - (end % piece))
      await until(() => file.ring.taken === whole, 'the whole piece')
      await turns(file)
      file.clock.pass(patience - 1)
      await turns(file)
      assert.equal(file.ring.taken, whole)
      file.clock.pass(1)
      // Nobody calls it.
      await until(() => file.ring.taken === end, 'the rest')
    }
    assert.ok((await file.read()).equals(content.subarray(0, piece + 3000)))
  })

  it('does not wait longer because little by little more comes', async () => {
    await using file = await written()
    file.put(1000)
    await turns(file)
    for (let passed = 1; passed < patience; passed += 1) {
      file.clock.pass(1)
      file.put(10)
    }
    await turns(file)
    assert.equal(file.ring.taken, 0)
    file.clock.pass(1)
    await until(() => file.ring.taken === 1000 + 10 * (patience - 1), 'all of it')
  })

  it('waits for nothing when it is asked to write all', async () => {
    await using file = await written(5)
    for (const bytes of [1, 1000, piece, piece + 1]) {
      file.put(bytes)
      await file.writer.until('empty')
      assert.equal(file.ring.backlog, 0)
    }
    file.put(1000)
    await turns(file)
    assert.equal(file.ring.backlog, 1000)
  })

  it('waits for nothing when it is asked for room, or to tell of the next byte', async () => {
    await using file = await written()
    file.put(300)
    await file.writer.until(0)
    assert.equal(file.ring.backlog, 0)
    file.put(300)
    // What is kept behind it takes all the room.
    while (file.ring.hasRoom) file.ring.keep(file.ring.room() ?? assert.fail())
    await turns(file)
    assert.equal(file.ring.backlog, 300)
    await file.writer.until('room')
    assert.equal(file.ring.backlog, 0)
  })

  it('does not hold up what another thread has written by what comes before that', async () => {
    await using file = await written()
    const half = piece / 2
    file.put(half)
    await turns(file)
    assert.equal(file.ring.backlog, half)
    file.ring.handOver(0)
    const start = new RingStart(file.ring.memory)
    const room = start.room(piece) ?? assert.fail()
    assert.equal(room.length, half)
    room.set(content.subarray(half, piece))
    start.put(1000, 1000)
    file.writer.call()
    file.ring.count()
    await until(() => file.ring.taken === half + 1000, 'both')
    assert.deepEqual(file.clock.writes, [{ from: 0, to: half }])
  })
})
