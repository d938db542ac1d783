import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Body, type Source } from '../../src/upstream/body.ts'
import { receiveSize } from '../../src/upstream/connector.ts'
import { randomBlob } from '../support/image.ts'

type Step = Buffer | 'end' | Error

/** A connection that has all its bytes at hand, and pushes them from one buffer as fast as it may. */
class Connection implements Source {
  readonly body: Body
  readonly #steps: Step[]
  /** Used over and over, as that of real connections. */
  readonly #buffer = Buffer.alloc(receiveSize)
  #flowing = true
  pauses = 0
  aborted: Error | undefined

  constructor(steps: readonly Step[], { length, stall = 60_000 }: { length?: number; stall?: number } = {}) {
    this.#steps = [...steps]
    this.body = new Body({ source: this, length, stall, stalled: () => new Error('stalled') })
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
      else {
        step.copy(this.#buffer)
        this.body.push(this.#buffer.subarray(0, step.length))
        this.#buffer.fill(0)
      }
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

const content = randomBlob(40 * receiveSize)

/** The content, in pieces that are received one after the other. */
function pieces(size: number): Buffer[] {
  const all: Buffer[] = []
  for (let at = 0; at < content.length; at += size) all.push(content.subarray(at, at + size))
  return all
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}

describe('Body', () => {
  for (const length of [content.length, undefined]) {
    it(`of ${length ?? 'unknown'} bytes is given from two buffers, each as it was until the next is asked for`, async () => {
      const { body } = new Connection(
        [...pieces(1000), ...pieces(receiveSize), 'end'],
        length ? { length: 2 * length } : {},
      )
      const memory = new Set<unknown>()
      const copies: Buffer[] = []
      for (let chunk = await body.read(); chunk; chunk = await body.read()) {
        // Meanwhile the other buffer is filled.
        await new Promise((resolve) => setImmediate(resolve))
        memory.add(chunk.buffer)
        copies.push(Buffer.from(chunk))
      }
      assert.ok(Buffer.concat(copies).equals(Buffer.concat([content, content])))
      // One that was too small at the start may have been replaced.
      assert.ok(memory.size <= 4, `${memory.size} buffers`)
    })
  }

  it('receives no more than two pieces ahead of its reader', async () => {
    const connection = new Connection([...pieces(receiveSize), 'end'], { length: content.length })
    const whole = connection.left
    assert.equal(whole, 41)
    await connection.body.read()
    assert.ok(connection.left >= whole - 3)
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(connection.left >= whole - 3)
    let pauses = 0
    for (let chunk: unknown = true; chunk; chunk = await connection.body.read()) pauses = connection.pauses
    assert.ok(pauses > 5)
  })

  it('does not hold its connection up when it is small, and all there', async () => {
    const small = content.subarray(0, 5000)
    const connection = new Connection([small, 'end'], { length: small.length })
    assert.equal(connection.pauses, 0)
    assert.equal(connection.left, 0)
    assert.deepEqual(await connection.body.read(), small)
    assert.equal(await connection.body.read(), undefined)
  })

  it('waits for its reader from the start when it is large, or of unknown size', async () => {
    for (const length of [content.length, undefined]) {
      const connection = new Connection([...pieces(receiveSize), 'end'], { ...(length !== undefined && { length }) })
      assert.equal(connection.left, 41)
      assert.ok((await connection.body.readAll(content.length))?.equals(content))
    }
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

  it('breaks its connection when a reader waits for too long, and not while none does', async () => {
    const connection = new Connection([], { stall: 1 })
    await new Promise((resolve) => setTimeout(resolve, 5))
    assert.equal(connection.aborted, undefined)
    await assert.rejects(connection.body.read(), /stalled/)
    assert.match(String(connection.aborted), /stalled/)
  })

  it('reads a short rest that nobody wants, and is broken off in a long one', async () => {
    const short = new Connection([content.subarray(0, 10_000), 'end'])
    short.body.discard()
    assert.deepEqual([short.left, short.aborted], [0, undefined])
    const long = new Connection([...pieces(receiveSize), 'end'])
    long.body.discard()
    assert.match(String(long.aborted), /closed by the reader/)
    assert.ok(long.left > 30)
  })

  it('leaves no timer behind, however it ends', async () => {
    const before = timers()
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
    assert.equal(timers(), before)
  })
})
