import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { Body, type BodyConnection } from '../../../src/upstream/transfer/body.ts'
import { randomBlob } from '../../support/image.ts'

type Step = Buffer | 'end' | Error

/** As a socket gives it, at most. */
const chunkSize = 64 * 1024

const connections: Connection[] = []

afterEach(() => {
  for (const { body } of connections.splice(0)) body.close()
})

/** A connection that has all its bytes already, and pushes them as fast as it may, each chunk in memory of its own. */
class Connection implements BodyConnection {
  readonly body: Body
  readonly #steps: Step[]
  #flowing = true
  pauses = 0
  aborted: Error | undefined

  constructor(steps: readonly Step[], { stall = 60_000 }: { stall?: number } = {}) {
    this.#steps = [...steps]
    connections.push(this)
    this.body = new Body({ source: this, stall, stalled: () => new Error('stalled') })
    this.flow()
  }

  get left(): number {
    return this.#steps.length
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
      else this.body.push(Buffer.from(new Uint8Array(step).buffer))
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

  abort(error: Error): void {
    this.aborted = error
    this.body.fail(error)
  }
}

const content = randomBlob(40 * chunkSize)
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** The content, in pieces that are received one after the other. */
function pieces(size: number, of = content): Buffer[] {
  const all: Buffer[] = []
  for (let at = 0; at < of.length; at += size) all.push(of.subarray(at, at + size))
  return all
}

function active(name: 'Timeout' | 'Immediate'): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === name).length
}

describe('Body', () => {
  it('gives each chunk as it was until the next is asked for, and then its memory back', async () => {
    const { body } = new Connection([...pieces(1000), ...pieces(chunkSize), 'end'])
    const copies: Buffer[] = []
    let last: Buffer | undefined
    for (let chunk = await body.read(); chunk; chunk = await body.read()) {
      if (last && last.length === 0) assert.equal(last.buffer.byteLength, 0)
      const before = Buffer.from(chunk)
      await turn()
      assert.ok(chunk.equals(before))
      copies.push(before)
      last = chunk
    }
    assert.ok(Buffer.concat(copies).equals(Buffer.concat([content, content])))
    assert.equal(last?.length, 0)
  })

  it('does not give back memory that is not all its own', async () => {
    const memory = Buffer.alloc(3 * chunkSize, 7)
    const connection = new Connection([])
    for (const start of [0, chunkSize]) connection.body.push(memory.subarray(start, start + chunkSize))
    connection.bring('end')
    while (await connection.body.read());
    assert.equal(memory.length, 3 * chunkSize)
  })

  it('pauses its connection when 64 KiB wait for the reader, and goes on when they have been read', async () => {
    const connection = new Connection([...pieces(10_000), 'end'])
    const whole = connection.left
    for (let given = 0; ; ) {
      const received = Math.min(content.length, (pieces(10_000).length + 1 - connection.left) * 10_000)
      assert.ok(received - given <= chunkSize + 10_000, `${received - given} bytes ahead`)
      const chunk = await connection.body.read()
      if (!chunk) break
      given += chunk.length
    }
    assert.ok(connection.pauses > 10)
    assert.ok(whole > 200)
  })

  it('takes more than it has room for, as from a connection that goes on while it is paused', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      const { body } = new Connection([])
      for (const piece of pieces(30_000)) body.push(Buffer.from(piece))
      if (end === 'end') body.complete()
      else body.fail(end)
      const copies: Buffer[] = []
      for (let left = content.length; left > 0; ) {
        const chunk = (await body.read()) ?? assert.fail()
        copies.push(Buffer.from(chunk))
        left -= chunk.length
      }
      assert.ok(Buffer.concat(copies).equals(content))
      if (end === 'end') assert.equal(await body.read(), undefined)
      else await assert.rejects(body.read(), end)
    }
  })

  it('leaves alone what its reader has, when that one closes or discards it', async () => {
    for (const how of ['close', 'discard'] as const) {
      const connection = new Connection([...pieces(1000, content.subarray(0, 10_000)), 'end'])
      const chunk = (await connection.body.read()) as Buffer
      const copy = Buffer.from(chunk)
      connection.body[how]()
      await turn()
      assert.ok(chunk.equals(copy))
    }
  })

  it('does not hold its connection up when it is small, and all there', async () => {
    const whole = content.subarray(0, 5000)
    const connection = new Connection([whole, 'end'])
    assert.equal(connection.pauses, 0)
    assert.equal(connection.left, 0)
    assert.ok((await connection.body.read())?.equals(whole))
    assert.equal(await connection.body.read(), undefined)
  })

  it('gives what there is before it fails, or ends', async () => {
    for (const end of ['end', new Error('cut')] as const) {
      const connection = new Connection([content.subarray(0, 10), end])
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
      assert.ok((await first)?.equals(content.subarray(0, 5)))
      const second = connection.body.read()
      connection.bring(end)
      if (end === 'end') assert.equal(await second, undefined)
      else await assert.rejects(second, end)
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
    const long = new Connection([...pieces(chunkSize), 'end'])
    long.body.discard()
    assert.match(String(long.aborted), /closed by the reader/)
    assert.ok(long.left > 30)
    const silent = new Connection([], { stall: 1 })
    silent.body.discard()
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.match(String(silent.aborted), /stalled/)
  })

  it('counts what was received already to the rest that nobody wants', () => {
    const connection = new Connection([content.subarray(0, 16_000), content.subarray(0, 1000)])
    connection.body.discard()
    assert.match(String(connection.aborted), /closed by the reader/)
  })

  it('leaves no timer and nothing else behind, however it ends', async () => {
    await turn()
    const before = active('Timeout')
    const discarded = new Connection([content.subarray(0, 100), 'end'])
    discarded.body.discard()
    const cut = new Connection([...pieces(chunkSize), 'end'])
    cut.body.discard()
    const read = new Connection([content.subarray(0, 100), 'end'])
    while (await read.body.read());
    const closed = new Connection([])
    const waiting = assert.rejects(closed.body.read(), /closed by the reader/)
    closed.body.close()
    await waiting
    assert.equal(active('Timeout'), before)
    assert.equal(active('Immediate'), 0)
  })
})
