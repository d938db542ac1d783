import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Ring } from '../../../src/storage/spool/ring.ts'
import { RingEnd, RingStart } from '../../../src/storage/spool/ring-ends.ts'
import { randomBlob } from '../../support/image.ts'
import { Rings, sizes } from '../../support/rings.ts'

const piece = 128 * 1024
const bell = 77
const period = randomBlob(2 * sizes.large + 5)
const content = Buffer.concat([period, period.subarray(0, sizes.large)])

/** What a stream holds at a position. */
function expected(position: number, length: number): Buffer {
  const at = position % period.length
  return content.subarray(at, at + length)
}

for (const kind of ['large', 'small'] as const) {
  describe(`a ${kind} ring that was handed over`, () => {
    const rings = new Rings(kind)
    afterEach(() => rings.close())

    function handedOver(): { ring: Ring; size: number; start: RingStart; end: RingEnd } {
      const ring = rings.take()
      ring.handOver(bell)
      return {
        ring,
        size: ring.memory.bytes.byteLength,
        start: new RingStart(ring.memory),
        end: new RingEnd(ring.memory),
      }
    }

    it('gives out what was put in before, and then what is put in at its start', () => {
      const ring = rings.take()
      const end = new RingEnd(ring.memory)
      ring.put(expected(0, 1000))
      ring.handOver(bell)
      const start = new RingStart(ring.memory)
      const room = start.room(500) as Uint8Array
      assert.equal(room.length, 500)
      assert.equal(room.byteOffset, 1000)
      room.set(expected(1000, 500))
      start.put(500, 500)
      assert.ok(!end.areSaved)
      assert.deepEqual(Buffer.from(end.next()), expected(0, 1000))
      end.take(1000)
      assert.ok(end.areSaved)
      assert.deepEqual(Buffer.from(end.next()), expected(1000, 500))
      end.take(500)
      assert.ok(!end.areSaved)
    })

    it('is not handed over with bytes that were received and not put, here or elsewhere', () => {
      const ring = rings.take()
      const room = ring.room() as Buffer
      const kept = ring.keep(room.subarray(0, 10))
      assert.throws(() => ring.handOver(bell), /order/)
      ring.put(kept)
      ring.handOver(bell)
      ring.takeBack()
      const elsewhere = ring.keep(Buffer.alloc(ring.memory.bytes.byteLength))
      assert.notEqual(elsewhere.buffer, ring.memory.bytes)
      assert.throws(() => ring.handOver(bell), /order/)
      ring.skip(elsewhere)
      ring.handOver(bell)
    })

    it('knows only of what is counted', () => {
      const { ring, start, end } = handedOver()
      start.put(3000, 3000)
      assert.equal(ring.uncounted, 3000)
      assert.equal(ring.backlog, 0)
      assert.equal(ring.taken, 0)
      assert.equal(ring.rest().length, 0)
      end.take(1000)
      assert.equal(ring.backlog, 0)
      assert.equal(ring.taken, 0)
      assert.equal(ring.count(), 3000)
      assert.equal(ring.backlog, 2000)
      assert.equal(ring.taken, 1000)
      assert.equal(ring.count(), 0)
      assert.equal(ring.uncounted, 0)
    })

    it('goes on where it was given back, and takes nothing for saved that is put then', () => {
      const { ring, start, end } = handedOver()
      const room = start.room(piece) as Uint8Array
      room.set(expected(0, 2000))
      start.put(2000, 2000)
      end.take(500)
      ring.count()
      ring.takeBack()
      assert.ok(!end.areSaved)
      assert.ok(ring.rest().equals(expected(500, 1500)))
      assert.equal(ring.room()?.byteOffset, 2000)
      ring.restart()
      ring.put(expected(2000, 300))
      // It may be told in parts.
      for (const [at, length] of [
        [500, 1500],
        [2000, 300],
      ] as const) {
        assert.ok(!end.areSaved)
        assert.ok(Buffer.from(end.next()).equals(expected(at, length)))
        end.take(length)
      }
    })

    it('has room for as much as is wanted, up to the end of a piece', () => {
      const { size, start, end } = handedOver()
      assert.equal(start.room(piece + 1)?.length, piece)
      assert.equal(start.room(1)?.length, 1)
      start.put(1, 0)
      assert.equal(start.room(piece)?.length, piece - 1)
      for (let put = 1; put < size - piece; ) {
        const { length, byteOffset } = start.room(piece) ?? assert.fail()
        assert.equal(byteOffset, put)
        start.put(length, 0)
        put += length
      }
      assert.equal(start.room(piece)?.length, piece)
      start.put(1, 0)
      assert.equal(start.room(piece), undefined)
      end.take(size / 2)
      assert.equal(start.room(2 * piece)?.length, piece - 1)
      assert.equal(start.room(10)?.byteOffset, size - piece + 1)
    })

    it('rings the bell when half is free, once, and only where somebody waits for it', () => {
      const { size, start, end } = handedOver()
      start.put(size, 0)
      assert.equal(end.take(size), undefined)
      for (let turn = 0; turn < 3; turn += 1) {
        start.put(size - piece, 0)
        assert.ok(start.room(piece))
        start.put(1, 0)
        assert.equal(start.room(piece), undefined)
        assert.equal(start.room(piece), undefined)
        assert.equal(end.take(size / 2 - piece), undefined)
        assert.equal(end.take(1), bell)
        assert.equal(end.take(1), undefined)
        assert.ok(start.room(piece))
        assert.equal(end.take(size / 2 - 1), undefined)
      }
    })

    it('loses no wake-up: whoever waits for room gets it, or the bell is rung, whenever it is that some is taken out', (test) => {
      // In the middle of `room`, before and after what it says is there to be seen.
      for (const when of ['before', 'after'] as const) {
        const { size, start, end } = handedOver()
        for (const taken of [1, piece, size / 2 - 1, size / 2, size]) {
          start.put(size, 0)
          const rung: unknown[] = []
          const { store } = Atomics
          const during = test.mock.method(Atomics, 'store', (...given: Parameters<typeof store>) => {
            during.mock.restore()
            if (when === 'after') store(...given)
            rung.push(end.take(taken))
            return when === 'before' ? store(...given) : given[2]
          })
          const room = start.room(piece)
          during.mock.restore()
          assert.equal(rung.length, 1)
          const isEnough = taken >= size / 2
          assert.equal(room !== undefined || rung[0] === bell, isEnough, `${taken} ${when}`)
          // And otherwise with what is taken next.
          if (!isEnough) assert.equal(end.take(size / 2 - taken), bell)
          end.take(size - Math.max(taken, size / 2))
        }
      }
    })

    it('answers a question when so many more are taken out than were counted, or fewer where it is asked again for less', () => {
      const { ring, start, end } = handedOver()
      start.put(5000, 0)
      ring.count()
      ring.ask(1, 3000)
      start.put(4000, 0)
      end.take(7999)
      assert.equal(end.question(false), 0)
      end.take(1)
      assert.equal(end.question(false), 1)
      assert.equal(end.question(false), 0)

      ring.count()
      ring.ask(2, 100_000)
      end.take(1000)
      assert.equal(end.question(false), 0)
      ring.ask(2, 1)
      assert.equal(end.question(false), 0)
      start.put(1, 0)
      end.take(1)
      assert.equal(end.question(false), 2)
      // Once more, as one who has not heard it yet.
      ring.ask(2, 0)
      assert.equal(end.question(false), 2)
    })

    it('answers no question that it has not looked at', (test) => {
      const { ring, end } = handedOver()
      ring.ask(1, 0)
      const { load } = Atomics
      const during = test.mock.method(Atomics, 'load', (...given: Parameters<typeof load>) => {
        during.mock.restore()
        const seen = load(...given)
        // Another one, for more, just after the first was seen.
        ring.ask(2, 1000)
        return seen
      })
      assert.equal(end.question(true), 0)
      assert.equal(end.question(false), 0)
      assert.equal(end.question(true), 2)
    })

    it('takes for saved what is, and nothing else, beyond the numbers that its marks can hold', () => {
      const enough = 2 ** 32 + 2 ** 31
      for (const isSaved of [true, false]) {
        const { ring, size, start, end } = handedOver()
        // Saved, in any case.
        start.put(size, size)
        end.take(size)
        start.put(piece, piece)
        for (let at = size + piece; at < enough; at += piece) {
          start.put(piece, isSaved ? piece : 0)
          // One behind what was put just now.
          assert.equal(end.areSaved, isSaved || at === size + piece, `at ${at}`)
          assert.equal(end.next().length, piece)
          end.take(piece)
          if (at % (64 * piece) === 0) ring.count()
        }
        assert.ok(ring.count() > 0)
        ring.takeBack()
        assert.ok(!end.areSaved)
        rings.giveBack(ring)
      }
    })

    it('takes nothing for saved that comes 4 GiB after it was given back', () => {
      const { ring, size, start, end } = handedOver()
      start.put(size, size)
      end.take(1)
      ring.count()
      ring.takeBack()
      end.take(size - 1)
      for (let at = size; at < 2 ** 32 + 3 * size; at += piece) {
        const room = ring.room() as Buffer
        ring.put(ring.keep(room))
        assert.ok(!end.areSaved, `at ${at}`)
        end.take(piece)
      }
    })

    const turn = fc.record({
      what: fc.constantFrom<Turn[]>(
        'put',
        'receive',
        'receive',
        'receive',
        'take',
        'take',
        'count',
        'ask',
        'give over',
      ),
      bytes: fc.oneof(fc.integer({ min: 1, max: 2 * piece }), fc.constantFrom(1, piece - 1, piece, 1024 * 1024)),
      saved: fc.constantFrom('all', 'all', 'all', 'all', 'part', 'none'),
    })
    const position = fc.constantFrom(
      0,
      1,
      piece - 1,
      2 ** 31 - 2 ** 20,
      2 ** 32 - 2 ** 20 - 777,
      2 ** 32 - 2 ** 21,
      2 ** 32,
    )
    it('gives out in order what was put in at either place, and says of each byte whether it is saved', (test) => {
      fc.assert(
        fc.property(position, fc.array(turn, { maxLength: 100, size: 'max' }), (from, turns) => {
          // That of one that failed, too.
          rings.close()
          const scene = new Scene(rings.take(from), from)
          const { store } = Atomics
          // Each time that one of them says something, the other looks.
          const watched = test.mock.method(Atomics, 'store', (...given: Parameters<typeof store>) => {
            const said = store(...given)
            scene.look()
            return said
          })
          try {
            for (const { what, bytes, saved } of turns) {
              scene.play(what, bytes, saved)
              scene.check()
            }
            scene.finish()
          } finally {
            watched.mock.restore()
          }
        }),
        { numRuns: 60 },
      )
    })
  })
}

type Turn = 'put' | 'receive' | 'take' | 'count' | 'ask' | 'give over'
type Saved = 'all' | 'part' | 'none'

/** All three who use a ring, as they may, and what has to come of it. */
class Scene {
  readonly #ring: Ring
  readonly #end: RingEnd
  readonly #size: number
  #start: RingStart | undefined
  #put: number
  #counted: number
  #taken: number
  /** From where to where. */
  #saved: { from: number; to: number }
  #isSaving = true
  #isAwaited = false
  #asked = 0
  #question: { readonly number: number; until: number } | undefined

  /** `from` is where it begins. */
  constructor(ring: Ring, from: number) {
    this.#ring = ring
    this.#end = new RingEnd(ring.memory)
    this.#size = ring.memory.bytes.byteLength
    this.#saved = { from, to: from }
    this.#put = from
    this.#counted = from
    this.#taken = from
  }

  play(turn: Turn, bytes: number, saved: Saved): void {
    if (turn === 'put') this.#putHere(bytes)
    else if (turn === 'receive') this.#receive(bytes, saved)
    else if (turn === 'take') this.#take(bytes)
    else if (turn === 'count') this.#count()
    else if (turn === 'ask') this.#ask(bytes)
    else this.#giveOver()
  }

  /** At any moment. */
  look(): void {
    const { from, to } = this.#saved
    const isSaved = this.#taken >= from && this.#taken < to
    if (this.#taken < this.#put && this.#end.next().length > 0) assert.equal(this.#end.areSaved, isSaved)
  }

  check(): void {
    const taken = Math.min(this.#taken, this.#counted)
    assert.equal(this.#ring.taken, taken)
    assert.equal(this.#ring.backlog, this.#counted - taken)
    assert.ok(this.#ring.rest().equals(expected(taken, this.#counted - taken)))
    assert.equal(this.#ring.uncounted, this.#put - this.#counted)
    const isDue = this.#question && this.#taken >= this.#question.until
    assert.equal(this.#end.question(false), isDue ? this.#question?.number : 0)
    if (isDue) this.#question = undefined
  }

  finish(): void {
    while (this.#taken < this.#put) this.#take(this.#size)
    this.#count()
    this.check()
    assert.equal(this.#end.next().length, 0)
  }

  #putHere(bytes: number): void {
    if (this.#start) return
    const room = this.#size - (this.#put - this.#taken)
    const length = Math.min(bytes, this.#size)
    assert.equal(this.#ring.put(Buffer.from(expected(this.#put, length))), Math.min(length, room))
    this.#put += Math.min(length, room)
    this.#counted = this.#put
  }

  #receive(bytes: number, saved: Saved): void {
    if (!this.#start) return
    const backlog = this.#put - this.#taken
    const room = this.#start.room(bytes)
    const hasRoom = backlog <= this.#size - piece
    assert.equal(room !== undefined, hasRoom)
    this.#isAwaited ||= !hasRoom
    if (!room) return
    assert.equal(room.length, Math.min(bytes, toEnd(this.#put)))
    assert.equal(room.byteOffset, this.#put % this.#size)
    room.set(expected(this.#put, room.length))
    const part = { all: room.length, part: Math.floor(room.length / 2), none: 0 }[saved]
    const there = this.#isSaving ? part : 0
    if (there < room.length) this.#isSaving = false
    // Said before they are put in.
    if (there > 0) this.#saved.to = this.#put + there
    this.#put += room.length
    this.#start.put(room.length, there)
  }

  #take(most: number): void {
    for (let left = most; left > 0; ) {
      const bytes = this.#takeSome(left)
      if (bytes === 0) return
      left -= bytes
    }
  }

  #takeSome(most: number): number {
    const next = this.#end.next()
    const there = this.#put - this.#taken
    const { from, to } = this.#saved
    const isSaved = this.#taken >= from && this.#taken < to
    // All of them saved, or none, in one piece.
    const alike = [from, to].map((limit) => limit - this.#taken).filter((bytes) => bytes > 0)
    assert.equal(next.length, Math.min(there, toEnd(this.#taken), ...alike))
    assert.ok(expected(this.#taken, next.length).equals(next))
    if (there > 0) assert.equal(this.#end.areSaved, isSaved)
    for (const length of [next.length, Math.ceil(next.length / 2)]) {
      const end = this.#taken + length
      const isAnswer = this.#question !== undefined && end >= this.#question.until
      if (length > 0) assert.equal(this.#end.isRound(length), end % piece === 0 || end === from || isAnswer)
    }
    const bytes = Math.min(most, next.length)
    this.#taken += bytes
    const isDue = this.#isAwaited && this.#put - this.#taken <= this.#size / 2
    assert.equal(this.#end.take(bytes), isDue ? bell : undefined)
    if (isDue) this.#isAwaited = false
    return bytes
  }

  #count(): void {
    assert.equal(this.#ring.count(), this.#put - this.#counted)
    this.#counted = this.#put
  }

  #ask(until: number): void {
    // The one there is, for less.
    if (this.#question) until = Math.max(0, Math.min(until, this.#question.until - this.#counted))
    else this.#asked += 1
    this.#question = { number: this.#asked, until: this.#counted + until }
    this.#ring.ask(this.#asked, until)
  }

  #giveOver(): void {
    if (this.#start) {
      this.#count()
      this.#start = undefined
      // What nobody has taken out is written once more.
      this.#saved.from = this.#saved.to
      // Whoever waited is told of it still, which does no harm.
      this.#ring.takeBack()
    } else {
      this.#isSaving = true
      this.#isAwaited = false
      this.#saved = { from: this.#put, to: this.#put }
      this.#ring.handOver(bell)
      this.#start = new RingStart(this.#ring.memory)
    }
  }
}

/** Bytes to the end of the piece of the stream. */
function toEnd(position: number): number {
  return piece - (position % piece)
}
