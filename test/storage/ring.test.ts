import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Ring, RingEnd } from '../../src/storage/ring.ts'
import { randomBlob } from '../support/image.ts'

const KiB = 1024
const piece = 128 * KiB
const size = 2 * piece
const content = randomBlob(3 * size + 5)

function ends(): { ring: Ring; end: RingEnd } {
  const ring = new Ring()
  return { ring, end: new RingEnd(ring.memory) }
}

/** Receives bytes where they belong. */
function received(ring: Ring, bytes: Buffer): Buffer {
  const room = ring.room()
  assert.ok(ring.hasRoom && room && room.length >= bytes.length)
  bytes.copy(room)
  return ring.keep(room.subarray(0, bytes.length))
}

/** Takes out so many bytes, or all there are. */
function taken(end: RingEnd, most = Number.POSITIVE_INFINITY): Buffer {
  const chunks: Buffer[] = []
  for (let left = most; left > 0; ) {
    const next = end.next(left)
    if (next.length === 0) break
    chunks.push(Buffer.from(next))
    end.take(next.length)
    left -= next.length
  }
  return Buffer.concat(chunks)
}

describe('Ring', () => {
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
    ring.put(received(ring, content.subarray(0, piece)))
    assert.ok(ring.hasRoom)
    ring.put(received(ring, content.subarray(0, 1)))
    assert.ok(ring.hasRoom)
    ring.put(received(ring, content.subarray(0, piece - 1)))
    assert.ok(!ring.hasRoom)
    end.take(piece - 1)
    assert.ok(!ring.hasRoom)
    end.take(1)
    assert.ok(ring.hasRoom)
    assert.equal(ring.backlog, piece)
    assert.equal(ring.taken, piece)
  })

  it('has no room for what is kept and not put yet', () => {
    const { ring, end } = ends()
    const first = received(ring, content.subarray(0, piece))
    const second = received(ring, content.subarray(piece, size))
    assert.ok(!ring.hasRoom)
    assert.equal(end.next(size).length, 0)
    assert.equal(ring.backlog, 0)
    ring.put(first)
    ring.put(second)
    assert.deepEqual(taken(end), content.subarray(0, size))
  })

  it('takes as one what was received in one row', () => {
    const { ring, end } = ends()
    received(ring, content.subarray(0, piece))
    received(ring, content.subarray(piece, size))
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
      received(ring, content.subarray(0, piece)),
      // Across the end of the ring.
      ring.keep(content.subarray(piece, size + 1)),
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
    ring.put(received(ring, content.subarray(0, piece)))
    ring.put(received(ring, content.subarray(0, piece)))
    assert.notEqual(ring.keep(content.subarray(0, 1)).buffer, ring.memory.bytes)
    ring.restart()
    end.take(10)
    assert.equal(ring.keep(content.subarray(0, 10)).buffer, ring.memory.bytes)
    assert.notEqual(ring.keep(content.subarray(0, 1)).buffer, ring.memory.bytes)
  })

  it('goes on receiving only when what is kept elsewhere has found its place', () => {
    const { ring } = ends()
    ring.put(received(ring, content.subarray(0, piece)))
    ring.put(received(ring, content.subarray(0, 10)))
    const kept = ring.keep(content.subarray(0, piece))
    assert.ok(!ring.hasRoom)
    ring.skip(kept)
    assert.ok(ring.hasRoom)
  })

  it('takes of bytes from elsewhere as many as there is room for, around its end', () => {
    const { ring, end } = ends()
    assert.equal(ring.put(content.subarray(0, 200_000)), 200_000)
    assert.deepEqual(taken(end, 150_000), content.subarray(0, 150_000))
    assert.equal(ring.put(content.subarray(200_000)), size - 50_000)
    assert.equal(ring.put(content.subarray(0, 1)), 0)
    assert.equal(ring.backlog, size)
    assert.deepEqual(taken(end), content.subarray(150_000, 150_000 + size))
    assert.equal(end.next(1).length, 0)
  })

  it('gives what is in it, around its end, as a copy', () => {
    const { ring, end } = ends()
    assert.equal(ring.rest().length, 0)
    ring.put(content.subarray(0, 200_000))
    end.take(150_000)
    ring.put(content.subarray(200_000, 350_000))
    const rest = ring.rest()
    assert.deepEqual(rest, content.subarray(150_000, 350_000))
    ring.drain()
    assert.equal(ring.rest().length, 0)
    ring.put(received(ring, content.subarray(0, 100)))
    assert.deepEqual(rest, content.subarray(150_000, 350_000))
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
    const first = received(ring, content.subarray(0, piece))
    const second = received(ring, content.subarray(0, piece))
    const elsewhere = [ring.keep(content.subarray(0, 10)), ring.keep(content.subarray(0, 20))] as const
    assert.ok(!ring.hasRoom)
    ring.skip(first.subarray(0, 1000))
    ring.skip(first.subarray(1000))
    assert.equal(ring.taken, size + piece)
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

  it('is told of room as soon as there is enough, once', () => {
    const { ring, end } = ends()
    ring.put(received(ring, content.subarray(0, piece)))
    ring.put(received(ring, content.subarray(0, piece)))
    assert.equal(end.question(false), 0)
    assert.equal(end.question(true), 0)
    ring.ask(7, 'room')
    assert.equal(end.question(false), 0)
    end.take(piece - 1)
    assert.equal(end.question(false), 0)
    assert.ok(!ring.hasRoom)
    end.take(1)
    assert.ok(ring.hasRoom)
    assert.equal(end.question(false), 7)
    assert.equal(end.question(true), 0)
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
      for (const until of ['room', 'empty'] as const) {
        const bytes = ring.room() as Buffer
        assert.equal(bytes.byteOffset, at % size)
        bytes.writeUInt32LE(question, 1000)
        assert.equal(ring.put(ring.keep(bytes)), piece)
        at += piece
        if (until === 'room') continue
        assert.ok(!ring.hasRoom)
        assert.equal(ring.backlog, size)
        assert.equal(ring.taken, at - size)
        assert.equal(end.next(piece).byteLength, piece)
        ring.ask(question, question % 2 === 0 ? 'room' : 'empty')
        end.take(piece - 1)
        assert.equal(end.question(false), 0)
        end.take(question % 2 === 0 ? 1 : piece)
        assert.equal(end.question(false), question % 2 === 0 ? question : 0)
        end.take(question % 2 === 0 ? piece : 1)
        assert.equal(end.question(false), question % 2 === 0 ? 0 : question)
        assert.equal(ring.backlog, 0)
        assert.equal(ring.taken, at)
      }
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
    ring.close()
    const next = ends()
    assert.equal(next.ring.memory, ring.memory)
    assert.equal(next.ring.backlog, 0)
    assert.equal(next.ring.taken, 0)
    assert.equal(next.end.question(true), 0)
    assert.equal(next.end.next(size).length, 0)
    next.ring.put(content.subarray(0, 100))
    assert.deepEqual(taken(next.end), content.subarray(0, 100))
    assert.notEqual(ends().ring.memory, ring.memory)
  })

  it('keeps no more than 8 MiB of memory to be used again', () => {
    const many = (): Ring[] => Array.from({ length: 80 }, () => new Ring())
    const old = many()
    for (const ring of old) ring.close()
    const memories = new Set(old.map(({ memory }) => memory))
    assert.equal(memories.size, 80)
    assert.equal(many().filter(({ memory }) => memories.has(memory)).length, 32)
  })

  const length = fc.oneof(
    fc.integer({ min: 1, max: size }),
    fc.constantFrom(1, 2, piece - 1, piece, piece + 1, size - 1, size),
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
      fc.property(fc.array(fc.tuple(what, length), { maxLength: 150 }), (turns) => {
        const scene = new Scene()
        for (const [turn, bytes] of turns) {
          scene.play(turn, bytes)
          scene.check()
        }
        scene.finish()
      }),
      { numRuns: 200 },
    )
  })
})

type Turn = 'lend' | 'receive' | 'receive elsewhere' | 'put' | 'take' | 'ask for room' | 'ask for emptiness' | 'restart'

/** Both ends of a ring, used as they may be, and what has to come of it. */
class Scene {
  readonly #ring = new Ring()
  readonly #end = new RingEnd(this.#ring.memory)
  #lent: Buffer | undefined
  /** Kept and not put. */
  #ready: Buffer[] = []
  #received = 0
  #put = 0
  #taken = 0
  #asked = 0
  #question: { number: number; until: number } | undefined

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
      this.#take(size)
    }
    this.check()
    assert.equal(this.#taken, this.#received)
    assert.ok(this.#ring.hasRoom)
    this.#ring.close()
  }

  #lend(): void {
    const isElsewhere = this.#ready.some(({ buffer }) => buffer !== this.#ring.memory.bytes)
    this.#lent = this.#ring.room()
    assert.equal(this.#lent === undefined, isElsewhere)
    assert.ok(!isElsewhere || !this.#ring.hasRoom)
  }

  #receive(bytes: number): void {
    if (!this.#lent || !this.#ring.hasRoom) return
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
    assert.equal(put, isInPlace ? next.length : Math.min(next.length, size - (this.#put - this.#taken)))
    this.#put += put
    if (put === next.length) this.#ready.shift()
    else this.#ready[0] = next.subarray(put)
  }

  #take(most: number): void {
    const next = this.#end.next(most)
    const there = this.#put - this.#taken
    assert.equal(next.length, Math.min(most, there, size - (this.#taken % size)))
    assert.ok(expected(this.#taken, next.length).equals(next))
    this.#end.take(next.length)
    this.#taken += next.length
  }

  #ask(until: 'room' | 'empty'): void {
    if (this.#question) return
    this.#asked += 1
    this.#ring.ask(this.#asked, until)
    const inRing = this.#ready.filter(({ buffer }) => buffer === this.#ring.memory.bytes)
    const end = inRing.reduce((sum, { length }) => sum + length, this.#put)
    const room = end + piece - (end % piece) - size
    this.#question = { number: this.#asked, until: until === 'room' ? room : this.#put }
  }

  #restart(): void {
    this.#ring.restart()
    this.#lent = undefined
    this.#ready = []
    this.#received = this.#put
  }
}

/** What the stream of a scene holds at a position. */
function expected(position: number, length: number): Buffer {
  const at = position % (content.length - size)
  return content.subarray(at, at + length)
}
