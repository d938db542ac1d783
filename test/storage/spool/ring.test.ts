import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import fc from 'fast-check'
import { Ring } from '../../../src/storage/spool/ring.ts'
import { RingEnd } from '../../../src/storage/spool/ring-ends.ts'
import { randomBlob } from '../../support/image.ts'
import { mostLarge, Rings, sizes } from '../../support/rings.ts'

const KiB = 1024
const piece = 128 * KiB
const period = randomBlob(2 * sizes.large + 5)
const content = Buffer.concat([period, period.subarray(0, sizes.large)])

/** Receives bytes where they belong. */
function received(ring: Ring, bytes: Buffer): Buffer {
  const room = ring.room()
  assert.ok(ring.hasRoom && room && room.length >= bytes.length)
  bytes.copy(room)
  return ring.keep(room.subarray(0, bytes.length))
}

/** Receives so many where they belong, piece by piece, which are then in one row. */
function receivedInPieces(ring: Ring, bytes: Buffer): Buffer {
  let start: number | undefined
  for (let at = 0; at < bytes.length; at += piece) {
    start ??= received(ring, bytes.subarray(at, at + piece)).byteOffset
    if (at > 0) received(ring, bytes.subarray(at, at + piece))
  }
  return Buffer.from(ring.memory.bytes, start, bytes.length)
}

/** Takes out so many bytes, or all there are. */
function taken(end: RingEnd, most = Number.POSITIVE_INFINITY): Buffer {
  const chunks: Buffer[] = []
  for (let left = most; left > 0; ) {
    const next = end.next().subarray(0, left)
    if (next.length === 0) break
    chunks.push(Buffer.from(next))
    end.take(next.length)
    left -= next.length
  }
  return Buffer.concat(chunks)
}

for (const kind of ['large', 'small'] as const) {
  describe(`a ${kind} Ring`, () => {
    const size = sizes[kind]
    const rings = new Rings(kind)
    afterEach(() => rings.close())

    function ends(): { ring: Ring; end: RingEnd } {
      const ring = rings.take()
      return { ring, end: new RingEnd(ring.memory) }
    }

    it('is of that size, in whole pieces', () => {
      assert.equal(ends().ring.memory.bytes.byteLength, size)
      assert.ok(size >= 2 * piece && size % piece === 0)
    })

    it('lends room to the end of a piece, takes what came there without a copy, and starts over', () => {
      const { ring, end } = ends()
      const lengths: number[] = []
      for (let at = 0, turn = 0; at < content.length; turn += 1) {
        const length = Math.min(turn % 3 === 0 ? 100_000 : piece, ring.room()?.length ?? 0, content.length - at)
        const bytes = content.subarray(at, at + length)
        const kept = received(ring, bytes)
        assert.equal(kept.buffer, ring.memory.bytes)
        assert.equal(kept.byteOffset, at % size)
        assert.equal(ring.put(kept), length)
        lengths.push(length)
        assert.deepEqual(taken(end), bytes)
        at += length
      }
      assert.deepEqual(lengths.slice(0, 5), [100_000, piece - 100_000, piece, 100_000, piece - 100_000])
    })

    it('has room for a whole piece or the rest of one, and else for none', () => {
      const { ring, end } = ends()
      assert.ok(ring.hasRoom)
      ring.put(receivedInPieces(ring, content.subarray(0, size - piece)))
      assert.ok(ring.hasRoom)
      ring.put(received(ring, content.subarray(0, 1)))
      assert.ok(ring.hasRoom)
      ring.put(received(ring, content.subarray(0, piece - 1)))
      assert.ok(!ring.hasRoom)
      end.take(piece - 1)
      assert.ok(!ring.hasRoom)
      end.take(1)
      assert.ok(ring.hasRoom)
      assert.equal(ring.backlog, size - piece)
      assert.equal(ring.taken, piece)
    })

    it('has no room for what is kept and not put yet', () => {
      const { ring, end } = ends()
      const first = receivedInPieces(ring, content.subarray(0, size - piece))
      const second = received(ring, content.subarray(size - piece, size))
      assert.ok(!ring.hasRoom)
      assert.equal(end.next().length, 0)
      assert.equal(ring.backlog, 0)
      ring.put(first)
      ring.put(second)
      assert.deepEqual(taken(end), content.subarray(0, size))
    })

    it('takes as one what was received in one row', () => {
      const { ring, end } = ends()
      receivedInPieces(ring, content.subarray(0, size))
      assert.equal(ring.put(Buffer.from(ring.memory.bytes)), size)
      assert.equal(ring.backlog, size)
      assert.deepEqual(taken(end), content.subarray(0, size))
    })

    it('copies what came elsewhere, so that the memory it came in can be used again', () => {
      const { ring, end } = ends()
      const chunk = Buffer.from(content.subarray(0, 1000))
      const kept = ring.keep(chunk)
      assert.equal(kept.buffer, ring.memory.bytes)
      chunk.fill(0)
      const next = received(ring, content.subarray(1000, 1500))
      ring.put(kept)
      ring.put(next)
      assert.deepEqual(taken(end), content.subarray(0, 1500))
    })

    it('keeps what does not fit elsewhere, and whatever comes after that too, until it is put', () => {
      const { ring, end } = ends()
      const kept = [
        receivedInPieces(ring, content.subarray(0, size - piece)),
        // Across the end of the ring.
        ring.keep(content.subarray(size - piece, size + 1)),
        ring.keep(content.subarray(size + 1, size + 2)),
      ]
      assert.deepEqual(
        kept.map(({ buffer }) => buffer === ring.memory.bytes),
        [true, false, false],
      )
      assert.notEqual(kept[1]?.buffer, content.buffer)
      assert.equal(ring.room(), undefined)
      assert.ok(!ring.hasRoom)
      const got: Buffer[] = []
      for (const [index, chunk] of kept.entries()) {
        assert.equal(ring.room(), undefined, `before ${index}`)
        assert.equal(ring.put(chunk), index === 1 ? piece : chunk.length)
        if (index === 1) {
          got.push(taken(end))
          assert.equal(ring.put(chunk.subarray(piece)), 1)
        }
      }
      assert.ok(ring.hasRoom)
      assert.equal(ring.room()?.byteOffset, 2)
      got.push(taken(end))
      assert.ok(Buffer.concat(got).equals(content.subarray(0, size + 2)))
    })

    it('keeps elsewhere what there is no room for by one byte', () => {
      const { ring, end } = ends()
      ring.put(receivedInPieces(ring, content.subarray(0, size)))
      assert.notEqual(ring.keep(content.subarray(0, 1)).buffer, ring.memory.bytes)
      ring.restart()
      end.take(10)
      assert.equal(ring.keep(content.subarray(0, 10)).buffer, ring.memory.bytes)
      assert.notEqual(ring.keep(content.subarray(0, 1)).buffer, ring.memory.bytes)
    })

    it('goes on receiving only when what is kept elsewhere has found its place', () => {
      const { ring } = ends()
      ring.put(receivedInPieces(ring, content.subarray(0, size - piece)))
      ring.put(received(ring, content.subarray(0, 10)))
      const kept = ring.keep(content.subarray(0, piece))
      assert.ok(!ring.hasRoom)
      ring.skip(kept)
      assert.ok(ring.hasRoom)
    })

    it('takes of bytes from elsewhere as many as there is room for, around its end', () => {
      const { ring, end } = ends()
      const first = size - 62_144
      assert.equal(ring.put(content.subarray(0, first)), first)
      assert.ok(taken(end, first - 50_000).equals(content.subarray(0, first - 50_000)))
      assert.equal(ring.put(content.subarray(first)), size - 50_000)
      assert.equal(ring.put(content.subarray(0, 1)), 0)
      assert.equal(ring.backlog, size)
      assert.ok(taken(end).equals(content.subarray(first - 50_000, first - 50_000 + size)))
      assert.equal(end.next().length, 0)
    })

    it('gives what is in it, around its end, as a copy', () => {
      const { ring, end } = ends()
      assert.equal(ring.rest().length, 0)
      const first = size - 62_144
      ring.put(content.subarray(0, first))
      end.take(first - 50_000)
      ring.put(content.subarray(first, first + 150_000))
      const rest = ring.rest()
      assert.ok(rest.equals(content.subarray(first - 50_000, first + 150_000)))
      ring.drain()
      assert.equal(ring.rest().length, 0)
      ring.put(received(ring, content.subarray(0, 100)))
      assert.ok(rest.equals(content.subarray(first - 50_000, first + 150_000)))
      assert.deepEqual(ring.rest(), content.subarray(0, 100))
    })

    it('gives what is in it when it is full', () => {
      const { ring } = ends()
      ring.put(content.subarray(0, size))
      assert.deepEqual(ring.rest(), content.subarray(0, size))
    })

    it('refuses bytes from elsewhere where others may be coming in', () => {
      const { ring, end } = ends()
      const room = ring.room() as Buffer
      assert.throws(() => ring.put(content.subarray(0, 1)), /lent/)
      assert.throws(() => ring.keep(content.subarray(0, 1)), /lent/)
      ring.put(ring.keep(room.subarray(0, 3)))
      assert.equal(ring.put(content.subarray(0, 1)), 1)
      ring.room()
      ring.restart()
      assert.equal(ring.put(content.subarray(0, 1)), 1)
      assert.equal(taken(end).length, 5)
    })

    it('refuses bytes out of their order', () => {
      const { ring } = ends()
      received(ring, content.subarray(0, 3))
      assert.throws(() => ring.put(content.subarray(0, 1)), /order/)
      assert.equal(ring.backlog, 0)
    })

    it('forgets what was received and not put when that comes from another source', () => {
      const { ring, end } = ends()
      ring.put(received(ring, content.subarray(0, 100)))
      received(ring, Buffer.alloc(1000))
      ring.keep(Buffer.alloc(size))
      ring.restart()
      assert.ok(ring.hasRoom)
      assert.equal(ring.room()?.byteOffset, 100)
      ring.put(received(ring, content.subarray(100, 300)))
      ring.put(content.subarray(300, 400))
      assert.deepEqual(taken(end), content.subarray(0, 400))
    })

    it('passes over what somebody else takes care of, and goes on behind it', () => {
      const { ring } = ends()
      ring.put(content.subarray(0, size))
      ring.drain()
      assert.equal(ring.taken, size)
      const first = receivedInPieces(ring, content.subarray(0, size - piece))
      const second = received(ring, content.subarray(0, piece))
      const elsewhere = [ring.keep(content.subarray(0, 10)), ring.keep(content.subarray(0, 20))] as const
      assert.ok(!ring.hasRoom)
      ring.skip(first.subarray(0, 1000))
      ring.skip(first.subarray(1000))
      assert.equal(ring.taken, size + size - piece)
      assert.equal(ring.backlog, 0)
      ring.skip(second)
      assert.equal(ring.room(), undefined)
      ring.skip(elsewhere[0])
      ring.skip(elsewhere[1].subarray(0, 19))
      assert.equal(ring.room(), undefined)
      ring.skip(elsewhere[1].subarray(19))
      assert.equal(ring.room()?.byteOffset, 0)
      assert.equal(ring.taken, 2 * size)
      // Bytes that it has never kept.
      ring.skip(content.subarray(0, 10))
      assert.equal(ring.room()?.byteOffset, 0)
    })

    it('is told of room as soon as half of it is free, once', () => {
      const { ring, end } = ends()
      ring.put(receivedInPieces(ring, content.subarray(0, size)))
      assert.equal(end.question(false), 0)
      assert.equal(end.question(true), 0)
      ring.ask(7, 'room')
      assert.equal(end.question(false), 0)
      end.take(piece - 1)
      assert.ok(!ring.hasRoom)
      end.take(size / 2 - piece)
      assert.equal(end.question(false), 0)
      end.take(1)
      assert.ok(ring.hasRoom)
      assert.equal(end.question(false), 7)
      assert.equal(end.question(true), 0)
    })

    it('is told of room when all that was put is taken out, whatever is kept behind that', () => {
      const { ring, end } = ends()
      ring.put(received(ring, content.subarray(0, 300)))
      received(ring, content.subarray(300, piece))
      receivedInPieces(ring, content.subarray(piece, size))
      ring.ask(1, 'room')
      end.take(299)
      assert.equal(end.question(false), 0)
      end.take(1)
      assert.equal(end.question(false), 1)
    })

    it('is told when it is empty of what was in it, whatever is kept behind that', () => {
      const { ring, end } = ends()
      ring.put(content.subarray(0, 300))
      received(ring, content.subarray(0, 300))
      ring.ask(1, 'empty')
      end.take(299)
      assert.equal(end.question(false), 0)
      end.take(1)
      assert.equal(end.question(false), 1)
      ring.ask(2, 'empty')
      assert.equal(end.question(false), 2)
    })

    it('is told at once where it has to be, once', () => {
      const { ring, end } = ends()
      ring.put(content.subarray(0, 300))
      ring.ask(3, 'empty')
      assert.equal(end.question(true), 3)
      end.take(300)
      assert.equal(end.question(false), 0)
    })

    it('goes on beyond the numbers that its marks can hold', () => {
      const { ring, end } = ends()
      const enough = 2 ** 32 + 3 * size
      let at = 0
      for (let question = 1; at < enough; question += 1) {
        for (let pieces = size / piece; pieces > 0; pieces -= 1) {
          const bytes = ring.room() as Buffer
          assert.equal(bytes.byteOffset, at % size)
          bytes.writeUInt32LE(question, 1000)
          assert.equal(ring.put(ring.keep(bytes)), piece)
          at += piece
        }
        assert.ok(!ring.hasRoom)
        assert.equal(ring.backlog, size)
        assert.equal(ring.taken, at - size)
        assert.equal(end.next().byteLength, piece)
        const forRoom = question % 2 === 0
        ring.ask(question, forRoom ? 'room' : 'empty')
        end.take(size / 2 - 1)
        assert.equal(end.question(false), 0)
        end.take(forRoom ? 1 : size / 2)
        assert.equal(end.question(false), forRoom ? question : 0)
        end.take(forRoom ? size / 2 : 1)
        assert.equal(end.question(false), forRoom ? 0 : question)
        assert.equal(ring.backlog, 0)
        assert.equal(ring.taken, at)
      }
      ring.put(content.subarray(0, 1000))
      end.take(1)
      assert.deepEqual(ring.rest(), content.subarray(1, 1000))
      assert.deepEqual(taken(end), content.subarray(1, 1000))
      ring.drain()
      assert.equal(ring.taken, at + 1000)
    })

    it('uses memory again that was let go of, from its start', () => {
      const { ring, end } = ends()
      ring.put(content.subarray(0, 1000))
      end.take(10)
      ring.ask(5, 'empty')
      ring.handOver(77)
      rings.giveBack(ring)
      const next = ends()
      assert.ok(next.ring.memory === ring.memory)
      assert.equal(next.ring.backlog, 0)
      assert.equal(next.ring.taken, 0)
      assert.equal(next.end.question(true), 0)
      assert.equal(next.end.next().length, 0)
      assert.equal(next.ring.uncounted, 0)
      assert.ok(new Int32Array(next.ring.memory.marks).every((mark) => mark === 0))
      next.ring.put(content.subarray(0, 100))
      assert.deepEqual(taken(next.end), content.subarray(0, 100))
      assert.ok(ends().ring.memory !== ring.memory)
    })

    const length = fc.oneof(
      fc.integer({ min: 1, max: size }),
      fc.constantFrom(1, 2, piece - 1, piece, piece + 1, size - 1, size),
    )
    const start = fc.constantFrom(
      0,
      1,
      piece - 1,
      3 * piece + 1000,
      2 ** 31 - 70_001,
      2 ** 32 - 1,
      2 ** 32 + size / 2 + 5,
    )
    const what = fc.constantFrom(
      'lend',
      'receive',
      'receive',
      'receive elsewhere',
      'put',
      'put',
      'put',
      'take',
      'take',
      'ask for room',
      'ask for emptiness',
      'restart',
    )
    it('gives out in order what was put in, whichever way it came and in whatever turns', () => {
      fc.assert(
        fc.property(start, fc.array(fc.tuple(what, length), { maxLength: 150, size: 'max' }), (from, turns) => {
          // That of one that failed, too.
          rings.close()
          const scene = new Scene(rings.take(from), from)
          for (const [turn, bytes] of turns) {
            scene.play(turn, bytes)
            scene.check()
          }
          scene.finish()
          rings.close()
        }),
        { numRuns: kind === 'large' ? 40 : 200 },
      )
    })
  })
}

describe('the memory of rings', () => {
  it('is large for a few at once, small for all others, and no more than 20 MiB of it are kept to be used again', () => {
    const many = (): Ring[] => Array.from({ length: 80 }, () => new Ring())
    const old = many()
    const bytes = old.map(({ memory }) => memory.bytes.byteLength)
    assert.ok(mostLarge >= 4)
    assert.deepEqual(bytes.slice(0, mostLarge), Array(mostLarge).fill(sizes.large))
    assert.deepEqual(bytes.slice(mostLarge), Array(80 - mostLarge).fill(sizes.small))
    for (const ring of old) ring.close()
    const memories = new Set(old.map(({ memory }) => memory))
    assert.equal(memories.size, 80)
    const next = many()
    const again = next.filter(({ memory }) => memories.has(memory))
    assert.equal(again.length, mostLarge + 16)
    const kept = again.reduce((sum, { memory }) => sum + memory.bytes.byteLength, 0)
    assert.equal(kept, mostLarge * sizes.large + 16 * sizes.small)
    assert.ok(kept <= 20 * 1024 * KiB)
    assert.equal(next.filter(({ memory }) => memory.bytes.byteLength === sizes.large).length, mostLarge)
    // The large ones first, as long as there are any.
    assert.ok(next.slice(0, mostLarge).every(({ memory }) => memory.bytes.byteLength === sizes.large))
    for (const ring of next) ring.close()
  })
})

type Turn = 'lend' | 'receive' | 'receive elsewhere' | 'put' | 'take' | 'ask for room' | 'ask for emptiness' | 'restart'

/** Both ends of a ring, used as they may be, and what has to come of it. */
class Scene {
  readonly #ring: Ring
  readonly #end: RingEnd
  readonly #size: number
  #lent: Buffer | undefined
  /** Kept and not put. */
  #ready: Buffer[] = []
  #received: number
  #put: number
  #taken: number
  #asked = 0
  #question: { number: number; until: number } | undefined

  /** `from` is where it begins. */
  constructor(ring: Ring, from: number) {
    this.#received = from
    this.#put = from
    this.#taken = from
    this.#ring = ring
    this.#end = new RingEnd(ring.memory)
    this.#size = ring.memory.bytes.byteLength
  }

  play(turn: Turn, bytes: number): void {
    if (turn === 'lend') this.#lend()
    else if (turn === 'receive') this.#receive(bytes)
    else if (turn === 'receive elsewhere') this.#receiveElsewhere(bytes)
    else if (turn === 'put') this.#putNext()
    else if (turn === 'take') this.#take(bytes)
    else if (turn === 'restart') this.#restart()
    else this.#ask(turn === 'ask for room' ? 'room' : 'empty')
  }

  check(): void {
    const ring = this.#ring
    assert.equal(ring.taken, this.#taken)
    assert.equal(ring.backlog, this.#put - this.#taken)
    assert.ok(ring.rest().equals(expected(this.#taken, this.#put - this.#taken)))
    const isDue = this.#question && this.#taken >= this.#question.until
    assert.equal(this.#end.question(false), isDue ? this.#question?.number : 0)
    if (isDue) this.#question = undefined
  }

  finish(): void {
    while (this.#taken < this.#received) {
      this.#putNext()
      this.#take(this.#size)
    }
    this.check()
    assert.equal(this.#taken, this.#received)
    assert.ok(this.#ring.hasRoom)
  }

  #lend(): void {
    const isElsewhere = this.#ready.some(({ buffer }) => buffer !== this.#ring.memory.bytes)
    this.#lent = this.#ring.room()
    assert.equal(this.#lent === undefined, isElsewhere)
    assert.ok(!isElsewhere || !this.#ring.hasRoom)
  }

  #receive(bytes: number): void {
    if (!this.#lent || !this.#ring.hasRoom) return
    assert.equal(this.#lent.length, toEnd(this.#received))
    assert.equal(this.#lent.byteOffset, this.#received % this.#size)
    const place = this.#lent.subarray(0, bytes)
    expected(this.#received, place.length).copy(place)
    assert.equal(this.#ring.keep(place), place)
    this.#lent = undefined
    this.#received += place.length
    this.#ready.push(place)
  }

  #receiveElsewhere(bytes: number): void {
    if (this.#lent) return
    const chunk = Buffer.from(expected(this.#received, bytes))
    const kept = this.#ring.keep(chunk)
    chunk.fill(0)
    this.#received += bytes
    this.#ready.push(kept)
  }

  #putNext(): void {
    const [next] = this.#ready
    const isInPlace = next?.buffer === this.#ring.memory.bytes
    if (!next || (!isInPlace && this.#lent)) return
    const put = this.#ring.put(next)
    assert.equal(put, isInPlace ? next.length : Math.min(next.length, this.#size - (this.#put - this.#taken)))
    this.#put += put
    if (put === next.length) this.#ready.shift()
    else this.#ready[0] = next.subarray(put)
  }

  #take(most: number): void {
    for (let left = most; left > 0; ) {
      const next = this.#end.next()
      assert.equal(next.length, Math.min(this.#put - this.#taken, toEnd(this.#taken)))
      assert.equal(next.byteOffset, this.#taken % this.#size)
      assert.ok(expected(this.#taken, next.length).equals(next))
      if (next.length === 0) return
      const bytes = Math.min(left, next.length)
      this.#end.take(bytes)
      this.#taken += bytes
      left -= bytes
    }
  }

  #ask(until: 'room' | 'empty'): void {
    if (this.#question) return
    this.#asked += 1
    this.#ring.ask(this.#asked, until)
    const inRing = this.#ready.filter(({ buffer }) => buffer === this.#ring.memory.bytes)
    const end = inRing.reduce((sum, { length }) => sum + length, this.#put)
    const room = Math.min(this.#put, end - this.#size / 2)
    this.#question = { number: this.#asked, until: until === 'room' ? room : this.#put }
  }

  #restart(): void {
    this.#ring.restart()
    this.#lent = undefined
    this.#ready = []
    this.#received = this.#put
  }
}

/** Bytes to the end of the piece of the stream. */
function toEnd(position: number): number {
  return piece - (position % piece)
}

/** What the stream of a scene holds at a position. */
function expected(position: number, length: number): Buffer {
  const at = position % period.length
  return content.subarray(at, at + length)
}
