import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import type { Ring } from '../../../src/storage/spool/ring.ts'
import { RingEnd, RingStart } from '../../../src/storage/spool/ring-ends.ts'
import { randomBlob } from '../../support/image.ts'
import { Rings, sizes } from '../../support/rings.ts'

const piece = 128 * 1024
const bell = 77
const content = randomBlob(sizes.large)
/** Bytes that a file has already. */
const starts = [0, 1, 50_000, piece - 1, piece, 3 * piece + 77, 2 ** 31 - 5, 2 ** 32 - 1, 2 ** 32 + 12_345]

/** Bytes to the end of the piece of the file. */
function toEnd(position: number): number {
  return piece - (position % piece)
}

for (const kind of ['large', 'small'] as const) {
  describe(`a ${kind} Ring, piece by piece`, () => {
    const rings = new Rings(kind)
    const size = sizes[kind]
    afterEach(() => rings.close())

    function ends(start?: number): { ring: Ring; end: RingEnd } {
      const ring = rings.take(start)
      return { ring, end: new RingEnd(ring.memory) }
    }

    it('begins with what the file has, which is taken out, and neither there nor saved', () => {
      for (const start of starts) {
        const { ring, end } = ends(start)
        assert.equal(ring.taken, start)
        assert.equal(ring.backlog, 0)
        assert.equal(ring.uncounted, 0)
        assert.equal(ring.rest().length, 0)
        assert.equal(end.next().length, 0)
        assert.ok(!end.areSaved)
        assert.ok(ring.hasRoom)
        ring.put(content.subarray(0, 10))
        assert.ok(!end.areSaved)
        assert.deepEqual(ring.rest(), content.subarray(0, 10))
        assert.deepEqual(Buffer.from(end.next()), content.subarray(0, Math.min(10, toEnd(start))))
        ring.drain()
        assert.equal(ring.taken, start + 10)
        rings.giveBack(ring)
      }
    })

    it('gives out nothing behind the end of a piece of the file, wherever that began', () => {
      for (const start of starts) {
        const { ring, end } = ends(start)
        assert.equal(ring.put(content.subarray(0, size)), size)
        let at = start
        while (at < start + size) {
          const next = end.next()
          assert.equal(next.length, Math.min(toEnd(at), start + size - at), `of ${start} at ${at}`)
          assert.ok(content.subarray(at - start, at - start + next.length).equals(next))
          end.take(next.length)
          at += next.length
        }
        assert.equal(end.next().length, 0)
        assert.equal(ring.taken, start + size)
        rings.giveBack(ring)
      }
    })

    it('lends room to the end of a piece of the file, wherever that began', () => {
      for (const start of starts) {
        const { ring, end } = ends(start)
        for (let at = start; at < start + 2 * size; ) {
          const room = ring.room() ?? assert.fail()
          assert.equal(room.length, toEnd(at))
          assert.equal(room.byteOffset, at % size)
          ring.put(ring.keep(room))
          end.take(room.length)
          at += room.length
        }
        rings.giveBack(ring)
      }
    })

    it('gives another thread room to the end of a piece of the file, wherever that began', () => {
      for (const from of starts) {
        const { ring, end } = ends(from)
        ring.handOver(bell)
        const start = new RingStart(ring.memory)
        for (let at = from; at < from + 2 * size; ) {
          const room = start.room(size) ?? assert.fail()
          assert.equal(room.length, toEnd(at))
          assert.equal(room.byteOffset, at % size)
          start.put(room.length, room.length)
          assert.ok(end.areSaved)
          assert.equal(end.next().length, room.length)
          end.take(room.length)
          at += room.length
        }
        assert.ok(ring.count() >= 2 * size)
        assert.equal(ring.taken % piece, 0)
        rings.giveBack(ring)
      }
    })

    it('is not round where nothing is to be gained by writing, as long as more may come', () => {
      for (const start of starts) {
        const { ring, end } = ends(start)
        ring.put(content.subarray(0, 1000))
        for (const bytes of [1, 1000].filter((bytes) => bytes !== toEnd(start)))
          assert.ok(!end.isRound(bytes), `${start}`)
        assert.ok(!end.isRound(toEnd(start) + 1))
        rings.giveBack(ring)
      }
    })

    it('is round where a piece of the file ends, wherever that began', () => {
      for (const start of starts) {
        const { ring, end } = ends(start)
        ring.put(content.subarray(0, size))
        for (const bytes of [toEnd(start), toEnd(start) + piece]) {
          assert.ok(end.isRound(bytes), `${bytes} after ${start}`)
          if (bytes > 1) assert.ok(!end.isRound(bytes - 1))
        }
        end.take(toEnd(start))
        assert.ok(end.isRound(piece))
        end.take(1)
        assert.ok(!end.isRound(piece))
        assert.ok(end.isRound(piece - 1))
        rings.giveBack(ring)
      }
    })

    it('is round where that begins which another thread has saved', () => {
      const half = piece / 2
      const { ring, end } = ends()
      ring.put(content.subarray(0, half))
      assert.ok(!end.isRound(half))
      ring.handOver(bell)
      const start = new RingStart(ring.memory)
      start.put(1000, 1000)
      assert.equal(end.next().length, half)
      assert.ok(end.isRound(half))
      assert.ok(!end.isRound(half - 1))
      assert.ok(!end.isRound(half + 1))
      end.take(half - 10)
      assert.ok(end.isRound(10))
      end.take(10)
      // By then it is for `areSaved` to say.
      assert.ok(end.areSaved)
      assert.ok(!end.isRound(999))
    })

    it('is not round where that ends which another thread has saved', () => {
      const { ring, end } = ends()
      ring.handOver(bell)
      const start = new RingStart(ring.memory)
      start.put(1000, 500)
      end.take(500)
      assert.ok(!end.areSaved)
      assert.equal(end.next().length, 500)
      assert.ok(!end.isRound(500))
    })

    for (const [what, until] of [
      ['that all is taken out', 'empty'],
      ['that there is room', 'room'],
      ['how many are taken out', 0],
    ] as const) {
      it(`is round where a question ${what} would be answered, as long as it is not`, () => {
        for (const from of starts) {
          const { ring, end } = ends(from)
          const bytes = Math.min(1000, toEnd(from) - 1)
          if (bytes === 0) continue
          ring.put(content.subarray(0, bytes))
          assert.ok(!end.isRound(bytes))
          // Behind what is put, so much is kept that it has to be taken out to make room.
          if (until === 'room') while (ring.hasRoom) ring.keep(ring.room() ?? assert.fail())
          ring.ask(1, until)
          assert.ok(end.isRound(bytes), `${from}`)
          if (bytes > 1) assert.ok(!end.isRound(bytes - 1))
          end.take(bytes)
          assert.equal(end.question(false), 1)
          ring.restart()
          ring.put(content.subarray(0, 1))
          assert.equal(end.isRound(1), toEnd(from + bytes) === 1)
          rings.giveBack(ring)
        }
      })
    }

    it('is not round where a question asks for more', () => {
      const { ring, end } = ends(5)
      ring.put(content.subarray(0, 1000))
      ring.ask(1, 1)
      assert.ok(!end.isRound(1000))
      ring.ask(1, 0)
      assert.ok(end.isRound(1000))
    })
  })
}
