import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { Body, type Source } from '../../../src/upstream/transfer/body.ts'
import { receiveSize } from '../../../src/upstream/transfer/connector.ts'
import type { Intake, Memory, Supply } from '../../../src/upstream/upstream.ts'
import { digestOfBytes } from '../../support/bytes.ts'
import { randomBlob } from '../../support/image.ts'
import { DrainedRing, type Pace, turns } from './drained-ring.ts'

type Step = Buffer | 'end' | Error

const connections: Connection[] = []

afterEach(() => {
  for (const { body } of connections.splice(0)) body.close()
})

/**
 * A connection that has all its bytes at hand, and pushes them as fast as it may: from one buffer, or from where it was
 * told to receive them. That it asks for as soon as it has pushed, as the system does.
 */
class Connection implements Source {
  isPlain = true
  descriptor: number | undefined
  readonly body: Body
  readonly #steps: Step[]
  /** Used over and over, as that of real connections. */
  readonly #buffer = Buffer.alloc(receiveSize)
  #room: (() => Buffer | undefined) | undefined
  #next: Buffer | undefined
  #flowing = true
  pauses = 0
  lendings = 0
  /** Of the rooms it was told. */
  readonly rooms: number[] = []
  aborted: Error | undefined

  constructor(steps: readonly Step[], { length, stall = 60_000 }: { length?: number; stall?: number } = {}) {
    this.#steps = [...steps]
    connections.push(this)
    this.body = new Body({ source: this, length, stall, stalled: () => new Error('stalled') })
    this.flow()
  }

  get left(): number {
    return this.#steps.length
  }

  get flowing(): boolean {
    return this.#flowing
  }

  /** More comes. */
  bring(...steps: Step[]): void {
    this.#steps.push(...steps)
    this.flow()
  }

  flow(): void {
    while (this.#flowing && !this.aborted) {
      const step = this.#steps.shift()
      if (step === undefined) return
      if (step === 'end') this.body.complete()
      else if (step instanceof Error) this.body.fail(step)
      else this.#receive(step)
    }
  }

  pause(): void {
    this.pauses += 1
    this.#flowing = false
  }

  resume(): void {
    this.#flowing = true
    this.flow()
  }

  receiveInto(room: () => Buffer | undefined): void {
    this.lendings += 1
    this.#room = room
  }

  abort(error: Error): void {
    this.aborted = error
    this.body.fail(error)
  }

  #receive(bytes: Buffer): void {
    const place = this.#next ?? this.#buffer
    const length = bytes.copy(place)
    if (length < bytes.length) this.#steps.unshift(bytes.subarray(length))
    this.body.push(place.subarray(0, length))
    this.#buffer.fill(0)
    this.#next = this.#room?.()
    if (this.#next) this.rooms.push(this.#next.length)
  }
}

/** Memory of one page, which is free again when all of it was filled and given back. */
class Page implements Memory {
  readonly bytes: Buffer
  #filled = 0
  #returned = 0
  inPlace = 0

  constructor(size: number) {
    this.bytes = Buffer.alloc(size)
  }

  get hasRoom(): boolean {
    return this.#filled < this.bytes.length
  }

  restart(): void {
    this.#filled = 0
    this.#returned = 0
  }

  room(): Buffer {
    return this.bytes.subarray(this.#filled % this.bytes.length)
  }

  keep(bytes: Buffer): Buffer {
    const isOurs = bytes.buffer === this.bytes.buffer
    if (!isOurs && this.bytes.length - this.#filled < bytes.length) return Buffer.from(bytes)
    const kept = this.bytes.subarray(this.#filled, this.#filled + bytes.length)
    if (isOurs) this.inPlace += bytes.length
    if (isOurs) assert.equal(bytes.byteOffset, kept.byteOffset)
    else bytes.copy(kept)
    this.#filled += bytes.length
    return kept
  }

  /** Its owner is done with a chunk. */
  giveBack(chunk: Buffer): void {
    if (chunk.buffer === this.bytes.buffer) this.#returned += chunk.length
    if (this.#returned === this.bytes.length) this.restart()
  }
}

const content = randomBlob(40 * receiveSize)
const small = content.subarray(0, 300_000)
const turn = () => turns(1)

/** The content, in pieces that are received one after the other. */
function pieces(size: number, of = content): Buffer[] {
  const all: Buffer[] = []
  for (let at = 0; at < of.length; at += size) all.push(of.subarray(at, at + size))
  return all
}

function digestOf(bytes: Buffer): string {
  return digestOfBytes({ size: bytes.length, slice: (start, end) => bytes.subarray(start, end) })
}

function active(name: 'Timeout' | 'Immediate'): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === name).length
}

/** Reads all into memory of its own, of which the reader sees to it that there is room. */
async function readInto(page: Page, { body }: Connection): Promise<Buffer> {
  const copies: Buffer[] = []
  body.receiveInto(page)
  for (let chunk = await body.read(); chunk; chunk = await body.read()) {
    copies.push(Buffer.from(chunk))
    page.giveBack(chunk)
  }
  return Buffer.concat(copies)
}

describe('Body', () => {
  for (const length of [2 * content.length, undefined]) {
    it(`of ${length ?? 'unknown'} bytes is given from two buffers, each as it was until the next is asked for`, async () => {
      const { body } = new Connection(
        [...pieces(1000), ...pieces(receiveSize), 'end'],
        length === undefined ? {} : { length },
      )
      const memory: ArrayBufferLike[] = []
      const copies: Buffer[] = []
      for (let chunk = await body.read(); chunk; chunk = await body.read()) {
        const before = Buffer.from(chunk)
        // Meanwhile the other buffer is filled.
        await turn()
        assert.ok(chunk.equals(before))
        memory.push(chunk.buffer)
        copies.push(before)
      }
      assert.ok(Buffer.concat(copies).equals(Buffer.concat([content, content])))
      assert.deepEqual(
        [...new Set(memory)].map(({ byteLength }) => byteLength),
        [receiveSize, receiveSize],
      )
    })
  }

  it('receives no more than a buffer ahead of its reader', async () => {
    const connection = new Connection([...pieces(receiveSize), 'end'], { length: content.length })
    const whole = connection.left
    assert.equal(whole, 41)
    let given = 0
    const ahead: number[] = []
    for (let chunk = await connection.body.read(); chunk; chunk = await connection.body.read()) {
      given += chunk.length
      await turn()
      const received = Math.min(content.length, (whole - connection.left) * receiveSize)
      ahead.push((received - given) / receiveSize)
    }
    assert.equal(given, content.length)
    assert.deepEqual(ahead.slice(0, 3), [1, 1, 1])
    assert.equal(Math.max(...ahead), 1)
    assert.ok(connection.pauses >= 10)
  })

  it('stays with one small buffer for a reader that is faster', async () => {
    const connection = new Connection([])
    const memory = new Set<ArrayBufferLike>()
    for (const piece of pieces(receiveSize)) {
      const read = connection.body.read()
      connection.bring(piece)
      const chunk = await read
      assert.ok(chunk)
      assert.ok(chunk.equals(piece))
      memory.add(chunk.buffer)
    }
    assert.deepEqual(
      [...memory].map(({ byteLength }) => byteLength),
      [receiveSize],
    )
    assert.equal(connection.pauses, 1)
  })

  it('has no larger buffers than it has bytes, however slow its reader', async () => {
    for (const length of [1, 5000, receiveSize + 1, 300_000]) {
      const { body } = new Connection([...pieces(40_000, content.subarray(0, length)), 'end'], { length })
      const copies: Buffer[] = []
      for (let chunk = await body.read(); chunk; chunk = await body.read()) {
        assert.ok(chunk.buffer.byteLength <= Math.min(length, receiveSize))
        copies.push(Buffer.from(chunk))
        await turn()
      }
      assert.ok(Buffer.concat(copies).equals(content.subarray(0, length)))
    }
    const { body } = new Connection([content.subarray(0, 10), 'end'])
    assert.equal((await body.read())?.buffer.byteLength, receiveSize)
  })

  it('takes more at once than it has room for, as from a connection that ends while it is paused', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      for (const lent of [undefined, new Page(100), new DrainedRing()]) {
        const connection = new Connection([])
        const { body } = connection
        if (lent) body.receiveInto(lent)
        const first = body.read()
        const room = lent instanceof DrainedRing ? lent.memory.bytes.byteLength : 256 * 1024
        const many = Array.from({ length: room / (128 * 1024) }, () => 128 * 1024)
        const whole = [10, 90, 50, 1000, ...many, 7].map((size) => {
          const bytes = content.subarray(size, 2 * size)
          body.push(bytes)
          return bytes
        })
        assert.ok(!connection.flowing)
        if (end === 'end') body.complete()
        else body.fail(end)
        const copies = [Buffer.from((await first) ?? assert.fail())]
        while (Buffer.concat(copies).length < Buffer.concat(whole).length) {
          const chunk = (await body.read()) ?? assert.fail()
          const before = Buffer.from(chunk)
          await turn()
          assert.ok(chunk.equals(before))
          copies.push(before)
        }
        assert.ok(Buffer.concat(copies).equals(Buffer.concat(whole)))
        if (end === 'end') assert.equal(await body.read(), undefined)
        else await assert.rejects(body.read(), end)
      }
    }
  })

  it('leaves alone what its reader has, when that one closes or discards it', async () => {
    for (const how of ['close', 'discard'] as const) {
      const connection = new Connection([...pieces(1000, content.subarray(0, 10_000)), 'end'])
      const chunk = (await connection.body.read()) as Buffer
      const copy = Buffer.from(chunk)
      connection.body[how]()
      await turn()
      assert.equal(connection.left === 0, how === 'discard')
      assert.ok(chunk.equals(copy))
    }
  })

  it('does not hold its connection up when it is small, and all there', async () => {
    const whole = content.subarray(0, 5000)
    const connection = new Connection([whole, 'end'], { length: whole.length })
    assert.equal(connection.pauses, 0)
    assert.equal(connection.left, 0)
    assert.deepEqual(await connection.body.read(), whole)
    assert.equal(await connection.body.read(), undefined)
  })

  it('waits for its reader from the start when it is large, or of unknown size', async () => {
    for (const length of [content.length, receiveSize + 1, undefined]) {
      const connection = new Connection([...pieces(receiveSize), 'end'], { ...(length !== undefined && { length }) })
      assert.equal(connection.left, 41)
      assert.ok((await connection.body.readAll(content.length))?.equals(content))
    }
    assert.equal(new Connection([], { length: receiveSize }).pauses, 0)
  })

  it('gives what there is before it fails, or ends', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      const connection = new Connection([content.subarray(0, 10), end], { length: 10 })
      assert.equal((await connection.body.read())?.length, 10)
      if (end === 'end') assert.equal(await connection.body.read(), undefined)
      else await assert.rejects(connection.body.read(), end)
    }
  })

  it('gives a waiting reader what comes, what fails, and the end', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      const connection = new Connection([])
      const first = connection.body.read()
      connection.bring(content.subarray(0, 5))
      assert.deepEqual(await first, content.subarray(0, 5))
      const second = connection.body.read()
      connection.bring(end)
      if (end === 'end') assert.equal(await second, undefined)
      else await assert.rejects(second, end)
    }
  })

  it('wakes its reader at once where it has no more room, and else for all that comes in one turn', async () => {
    for (const { memory, whole } of [
      { memory: undefined, whole: 10 },
      { memory: new Page(10), whole: 10 },
      { memory: new Page(1000), whole: 30 },
    ]) {
      const connection = new Connection([])
      if (memory) connection.body.receiveInto(memory)
      const read = connection.body.read()
      let isLater = false
      setImmediate(() => {
        isLater = true
      })
      connection.bring(...pieces(10, content.subarray(0, 30)))
      const chunk = (await read) ?? assert.fail()
      assert.ok(chunk.equals(content.subarray(0, whole)))
      assert.equal(isLater, whole === 30)
    }
  })

  it('is over at once for a reader that waits for what came last', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      const connection = new Connection([])
      connection.body.receiveInto(new Page(1000))
      const read = connection.body.read()
      connection.bring(content.subarray(0, 10), end)
      assert.equal(active('Immediate'), 0)
      assert.ok((await read)?.equals(content.subarray(0, 10)))
      if (end === 'end') assert.equal(await connection.body.read(), undefined)
      else await assert.rejects(connection.body.read(), end)
    }
  })

  it('breaks its connection when a reader waits for too long, and not while none does', async () => {
    const connection = new Connection([], { stall: 1 })
    await new Promise((resolve) => setTimeout(resolve, 5))
    assert.equal(connection.aborted, undefined)
    await assert.rejects(connection.body.read(), /stalled/)
    assert.match(String(connection.aborted), /stalled/)
  })

  it('measures each wait from its own beginning, with one timer', async () => {
    const before = active('Timeout')
    const connection = new Connection([], { stall: 60 })
    for (let time = 0; time < 20; time += 1) {
      const read = connection.body.read()
      connection.bring(content.subarray(0, 10))
      await read
      assert.equal(active('Timeout'), before + 1)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    let isLong = false
    setTimeout(() => {
      isLong = true
    }, 30)
    await assert.rejects(connection.body.read(), /stalled/)
    assert.ok(isLong)
  })

  it('is left in peace by the timer of a wait that is over', async () => {
    const connection = new Connection([], { stall: 5 })
    const read = connection.body.read()
    connection.bring(content.subarray(0, 10))
    await read
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(connection.aborted, undefined)
    await assert.rejects(connection.body.read(), /stalled/)
  })

  it('reads a short rest that nobody wants, and is broken off in a long one', async () => {
    const short = new Connection([content.subarray(0, 10_000), 'end'])
    short.body.discard()
    assert.deepEqual([short.left, short.aborted], [0, undefined])
    const long = new Connection([...pieces(receiveSize), 'end'])
    long.body.discard()
    assert.match(String(long.aborted), /closed by the reader/)
    assert.ok(long.left > 30)
    const silent = new Connection([], { stall: 1 })
    silent.body.discard()
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.match(String(silent.aborted), /stalled/)
  })

  it('counts what was received already to the rest that nobody wants', () => {
    const connection = new Connection([content.subarray(0, 16_000), content.subarray(0, 1000)], { length: 20_000 })
    connection.body.discard()
    assert.match(String(connection.aborted), /closed by the reader/)
  })

  it('leaves no timer and nothing else behind, however it ends', async () => {
    await turn()
    const before = active('Timeout')
    const discarded = new Connection([content.subarray(0, 100), 'end'])
    discarded.body.discard()
    const cut = new Connection([...pieces(receiveSize), 'end'])
    cut.body.discard()
    const read = new Connection([content.subarray(0, 100), 'end'])
    while (await read.body.read());
    const closed = new Connection([])
    const waiting = assert.rejects(closed.body.read(), /closed by the reader/)
    closed.body.close()
    await waiting
    const lent = new Connection([])
    lent.body.receiveInto(new Page(1000))
    const lentWaiting = assert.rejects(lent.body.read(), /closed by the reader/)
    lent.bring(content.subarray(0, 10))
    lent.body.close()
    await lentWaiting
    assert.equal(active('Timeout'), before)
    assert.equal(active('Immediate'), 0)
  })
})

describe('Body, received into the memory of its reader,', () => {
  for (const size of [1, 7, 1013, receiveSize, receiveSize + 1, 290_000, 400_000]) {
    it(`of ${size} bytes, is whole and goes no further than it should`, async () => {
      const whole = size < 100 ? small.subarray(0, 5000) : small
      for (const pieceSize of [100, 999, whole.length]) {
        const page = new Page(size)
        const connection = new Connection([...pieces(pieceSize, whole), 'end'], { length: whole.length })
        assert.ok((await readInto(page, connection)).equals(whole))
        if (size >= 1013) assert.ok(page.inPlace > whole.length / 2, `${page.inPlace}`)
        assert.ok(Math.max(...connection.rooms, 0) <= receiveSize)
        assert.equal(connection.aborted, undefined)
      }
    })
  }

  it('is told no room beyond its end', async () => {
    const connection = new Connection([content.subarray(0, 10)], { length: 100 })
    const page = new Page(1000)
    await connection.body.read()
    connection.body.receiveInto(page)
    for (const [piece, room] of [
      [20, 70],
      [69, 1],
    ] as const) {
      const read = connection.body.read()
      connection.bring(content.subarray(0, piece))
      await read
      assert.equal(connection.rooms.at(-1), room)
    }
    const count = connection.rooms.length
    connection.bring(content.subarray(0, 1), 'end')
    assert.equal(connection.rooms.length, count)
  })

  it('is copied there, and received elsewhere, where its length is not known', async () => {
    const page = new Page(1013)
    const connection = new Connection([...pieces(100, small), 'end'])
    assert.ok((await readInto(page, connection)).equals(small))
    assert.deepEqual(connection.rooms, [])
    assert.ok(page.bytes.some((byte) => byte !== 0))
  })

  for (const { name, pace } of [
    { name: 'at once', pace: { every: 1 } },
    { name: 'little by little', pace: { every: 1, most: 10_000 } },
    { name: 'in bursts', pace: { every: 7 } },
    { name: 'when it has long been full', pace: 'when full' },
  ] satisfies { name: string; pace: Pace }[]) {
    for (const framing of ['of known length', 'without a length'] as const) {
      it(`a ring that is emptied ${name}, ${framing}, is whole`, async () => {
        for (const pieceSize of [1009, 50_000, receiveSize - 1, receiveSize]) {
          const ring = new DrainedRing()
          const length = framing === 'of known length' ? { length: content.length } : {}
          const connection = new Connection([...pieces(pieceSize), 'end'], length)
          await ring.takeFrom(connection.body, pace)
          assert.equal(ring.drained, content.length)
          assert.equal(ring.digest, digestOf(content))
          assert.ok(ring.mostElsewhere <= receiveSize, `${ring.mostElsewhere}`)
          if (framing === 'of known length') assert.ok(ring.inPlace > content.length / 2)
        }
      })
    }
  }

  it('waits with its connection where there is no room, until the reader has made some and asks', async () => {
    const connection = new Connection(pieces(100), { length: content.length })
    const page = new Page(1000)
    connection.body.receiveInto(page)
    assert.equal((await connection.body.read())?.length, 1000)
    assert.ok(!connection.flowing)
    const { left } = connection
    const waiting = connection.body.read()
    await turn()
    assert.equal(connection.left, left)
    assert.ok(!connection.flowing)
    connection.body.close()
    await assert.rejects(waiting, /closed by the reader/)
  })

  it('goes on at once when the reader takes what was ready, and there is room for more', async () => {
    const connection = new Connection(pieces(100), { length: content.length })
    const page = new Page(1000)
    connection.body.receiveInto(page)
    const first = (await connection.body.read()) ?? assert.fail()
    assert.equal(first.length, 1000)
    assert.ok(!connection.flowing)
    page.giveBack(first)
    // To lend it again changes nothing.
    connection.body.receiveInto(page)
    assert.equal(connection.lendings, 1)
    const { left } = connection
    assert.equal((await connection.body.read())?.length, 1000)
    assert.equal(connection.left, left - 10)
  })

  for (const framing of ['of known length', 'without a length'] as const) {
    it(`comes to it in the midst, ${framing}, when all that came before is read`, async () => {
      const length = framing === 'of known length' ? { length: content.length } : {}
      const connection = new Connection([...pieces(1000), 'end'], length)
      const { body } = connection
      const ring = new DrainedRing()
      await ring.drainDuring({ every: 1 }, async () => {
        for (let chunks = 1; ; chunks += 1) {
          const chunk = await body.read()
          if (!chunk) return
          // More is ready by now.
          await turn()
          await ring.pass(chunk)
          if (chunks === 5) body.receiveInto(ring)
        }
      })
      assert.equal(ring.digest, digestOf(content))
      assert.ok(ring.inPlace + ring.copied + ring.elsewhere > content.length - 10_000)
    })
  }

  it('is cut off when it is discarded, since the memory is no longer for it', async () => {
    const connection = new Connection([content.subarray(0, 100)], { length: 200 })
    const page = new Page(1000)
    await connection.body.read()
    connection.body.receiveInto(page)
    connection.body.discard()
    assert.match(String(connection.aborted), /closed by the reader/)
  })

  it('leaves its connection alone once it is over, though the memory was lent before', async () => {
    const connection = new Connection([content.subarray(0, 100), 'end'], { length: 100 })
    const late = new Connection([content.subarray(0, 50)], { length: 100 })
    late.body.receiveInto(new Page(1000))
    assert.equal(late.lendings, 0)
    late.body.push(content.subarray(50, 100))
    late.body.complete()
    for (const { body } of [connection, late]) {
      body.receiveInto(new Page(1000))
      while (await body.read());
      body.receiveInto(new Page(1000))
    }
    assert.equal(connection.lendings + late.lendings, 0)
  })

  it('is received there no more once it is over', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      const connection = new Connection([content.subarray(0, 100), end], { length: 100 })
      const page = new Page(1000)
      connection.body.receiveInto(page)
      assert.equal((await connection.body.read())?.length, 100)
      if (end === 'end') assert.equal(await connection.body.read(), undefined)
      else await assert.rejects(connection.body.read(), end)
      assert.ok(page.bytes.every((byte) => byte === 0))
    }
  })
})

const MiB = 1024 * 1024

/** Somebody else who receives, as told: so many bytes, one after the other. */
class Other implements Intake {
  readonly supply: Supply
  end: Intake['end']
  stops = 0
  readonly #steps: (number | Promise<unknown>)[]
  readonly #stopped = Promise.withResolvers<void>()

  constructor(supply: Supply, steps: readonly (number | Promise<unknown>)[], end: Intake['end']) {
    this.supply = supply
    this.#steps = [...steps]
    this.end = end
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number, undefined> {
    try {
      for (const step of this.#steps) {
        if (typeof step === 'number') yield step
        else await Promise.race([step, this.#stopped.promise])
        if (this.stops > 0) return
      }
    } finally {
      await this.stop()
    }
  }

  async stop(): Promise<void> {
    this.stops += 1
    this.#stopped.resolve()
  }
}

/** A ring that has somebody else receive, where `who` says by whom. */
class SharedRing implements Memory {
  readonly ring = new DrainedRing()
  readonly others: Other[] = []
  asked = 0
  who: ((supply: Supply) => Other | undefined) | undefined

  get hasRoom(): boolean {
    return this.ring.hasRoom
  }

  restart(): void {
    this.ring.restart()
  }

  room(): Buffer | undefined {
    return this.ring.room()
  }

  keep(bytes: Buffer): Buffer {
    return this.ring.keep(bytes)
  }

  receive(supply: Supply): Other | undefined {
    this.asked += 1
    const other = this.who?.(supply)
    if (other) this.others.push(other)
    return other
  }
}

/** The first chunk of a body, and what somebody else received after it. */
async function bypassed(connection: Connection, ring: SharedRing): Promise<{ first: number; more: number[] }> {
  const { body } = connection
  body.receiveInto(ring)
  const chunk = (await body.read()) ?? assert.fail()
  await ring.ring.pass(chunk)
  ring.ring.empty()
  const more: number[] = []
  for await (const bytes of body.bypass()) more.push(bytes)
  return { first: chunk.length, more }
}

describe('Body, whose rest somebody else receives,', () => {
  const length = 5 * MiB
  const first = content.subarray(0, 1000)
  const left = length - first.length

  function connect(total = length, descriptor: number | undefined = 77): Connection {
    const connection = new Connection([first], { length: total, stall: 1234 })
    connection.descriptor = descriptor
    return connection
  }

  it('is over when all has come, and its connection is broken', async () => {
    const connection = connect()
    const ring = new SharedRing()
    ring.who = (supply) => new Other(supply, [5, 0, left - 5], 'whole')
    assert.deepEqual(await bypassed(connection, ring), { first: 1000, more: [5, 0, left - 5] })
    assert.deepEqual(ring.others[0]?.supply, { socket: 77, length: left, stall: 1234 })
    assert.ok(connection.aborted)
    assert.equal(await connection.body.read(), undefined)
    assert.equal(connection.flowing, false)
  })

  for (const [end, error] of [
    ['closed', { code: 'UND_ERR_SOCKET' }],
    ['stopped', { code: 'UND_ERR_SOCKET' }],
    [{ code: 'ECONNRESET' }, { code: 'ECONNRESET' }],
    ['stalled', { message: 'stalled' }],
  ] as const) {
    it(`fails where that ends early: ${JSON.stringify(end)}`, async () => {
      const connection = connect()
      const ring = new SharedRing()
      ring.who = (supply) => new Other(supply, [left - 1], end)
      await bypassed(connection, ring)
      await assert.rejects(connection.body.read(), error)
      await assert.rejects(connection.body.read(), error)
    })
  }

  it('is handed over with 4 MiB left, and not with a byte less', async () => {
    for (const [total, times] of [
      [4 * MiB + 1000, 1],
      [4 * MiB + 999, 0],
    ] as const) {
      const ring = new SharedRing()
      await bypassed(connect(total), ring)
      assert.equal(ring.asked, times)
    }
  })

  it('is not handed over without a length, a descriptor, or somebody to receive it', async () => {
    const ring = new SharedRing()
    const endless = new Connection([first])
    endless.descriptor = 77
    assert.deepEqual((await bypassed(endless, ring)).more, [])
    const connection = connect()
    connection.descriptor = undefined
    const second = new SharedRing()
    assert.deepEqual((await bypassed(connection, second)).more, [])
    assert.equal(ring.asked + second.asked, 0)
    for (const other of [endless, connection]) {
      const read = other.body.read()
      other.bring(content.subarray(1000, 1007))
      assert.equal((await read)?.length, 7)
    }
  })

  it('is not handed over before what has come is read, nor before the memory is in use', async () => {
    const ring = new SharedRing()
    ring.who = (supply) => new Other(supply, [], 'closed')
    const { body } = connect()
    const isNotHandedOver = async (): Promise<void> => {
      for await (const bytes of body.bypass()) assert.fail(`${bytes} bytes`)
      assert.equal(ring.asked, 0)
    }
    body.push(first)
    body.receiveInto(ring)
    await isNotHandedOver()
    await ring.ring.pass((await body.read()) ?? assert.fail())
    await isNotHandedOver()
    body.receiveInto(ring)
    for await (const bytes of body.bypass()) assert.fail(`${bytes} bytes`)
    assert.deepEqual(
      ring.others.map(({ supply }) => supply.length),
      [left],
    )
  })

  it('is handed over later where nobody receives it at first, and is not paused for it all the time', async () => {
    const ring = new SharedRing()
    const connection = connect(6 * MiB)
    const { body } = connection
    const bypass = (): Promise<number[]> => Array.fromAsync(body.bypass())
    assert.deepEqual(await bypassed(connection, ring), { first: 1000, more: [] })
    assert.equal(ring.asked, 1)
    ring.who = (supply) => new Other(supply, [supply.length], 'whole')
    const { pauses } = connection
    // Each of them within one piece of the ring.
    const chunks = [128 * 1024 - 1000, ...Array.from({ length: 15 }, () => 64 * 1024)]
    for (const size of chunks) {
      assert.equal(connection.pauses, pauses)
      assert.deepEqual(await bypass(), [])
      const read = body.read()
      connection.bring(content.subarray(0, size))
      await ring.ring.pass((await read) ?? assert.fail())
      ring.ring.empty()
    }
    assert.equal(ring.asked, 1)
    const received = chunks.reduce((sum, size) => sum + size, 1000)
    assert.deepEqual(await bypass(), [6 * MiB - received])
    assert.equal(await body.read(), undefined)
  })

  it('is neither handed over nor paused for it where what comes is not what was sent', async () => {
    const ring = new SharedRing()
    ring.who = (supply) => new Other(supply, [supply.length], 'whole')
    const connection = connect()
    connection.isPlain = false
    const { body } = connection
    assert.deepEqual(await bypassed(connection, ring), { first: 1000, more: [] })
    const { pauses } = connection
    const read = body.read()
    connection.bring(content.subarray(0, 1000))
    await ring.ring.pass((await read) ?? assert.fail())
    assert.deepEqual(await Array.fromAsync(body.bypass()), [])
    assert.equal(ring.asked, 0)
    assert.equal(connection.pauses, pauses)
  })

  for (const how of ['fails', 'is closed'] as const) {
    it(`has it stopped where it ${how} meanwhile`, async () => {
      const connection = connect()
      const ring = new SharedRing()
      ring.who = (supply) => new Other(supply, [7, new Promise(() => {})], undefined)
      const { body } = connection
      body.receiveInto(ring)
      await ring.ring.pass((await body.read()) ?? assert.fail())
      for await (const bytes of body.bypass()) {
        assert.equal(bytes, 7)
        if (how === 'fails') body.fail(new Error('cut'))
        else body.close()
      }
      assert.ok((ring.others[0]?.stops ?? 0) > 0)
      await assert.rejects(body.read(), how === 'fails' ? /cut/ : /closed by the reader/)
    })
  }

  it('has it stopped where its reader leaves', async () => {
    const connection = connect()
    const ring = new SharedRing()
    ring.who = (supply) => new Other(supply, [7, 7], undefined)
    const { body } = connection
    body.receiveInto(ring)
    await ring.ring.pass((await body.read()) ?? assert.fail())
    for await (const bytes of body.bypass()) {
      assert.equal(bytes, 7)
      break
    }
    assert.equal(ring.others[0]?.stops, 1)
  })
})
