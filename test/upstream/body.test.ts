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
const turn = () => new Promise((resolve) => setImmediate(resolve))

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
      assert.ok(memory.every((buffer) => buffer instanceof SharedArrayBuffer))
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
      const small = content.subarray(0, length)
      const steps: Step[] = []
      for (let at = 0; at < length; at += 40_000) steps.push(small.subarray(at, at + 40_000))
      const { body } = new Connection([...steps, 'end'], { length })
      const copies: Buffer[] = []
      for (let chunk = await body.read(); chunk; chunk = await body.read()) {
        assert.ok(chunk.buffer.byteLength <= Math.min(length, receiveSize))
        copies.push(Buffer.from(chunk))
        await turn()
      }
      assert.ok(Buffer.concat(copies).equals(small))
    }
    const { body } = new Connection([content.subarray(0, 10), 'end'])
    assert.equal((await body.read())?.buffer.byteLength, receiveSize)
  })

  it('takes more at once than it has room for', async () => {
    let paused = false
    const source = { pause: () => (paused = true), resume: () => (paused = false), abort: () => undefined }
    const body = new Body({ source, length: content.length, stall: 60_000, stalled: () => new Error('stalled') })
    const first = body.read()
    assert.equal(paused, false)
    body.push(content.subarray(0, 10))
    body.push(content.subarray(10, 100))
    body.push(content.subarray(100, 1_000_000))
    assert.ok(paused)
    assert.deepEqual(await first, content.subarray(0, 10))
    assert.ok((await body.read())?.equals(content.subarray(10, 1_000_000)))
    body.push(content.subarray(1_000_000))
    body.complete()
    assert.ok((await body.read())?.equals(content.subarray(1_000_000)))
    assert.equal(await body.read(), undefined)
  })

  it('leaves its buffers to the next one, however it ends', async () => {
    // The garbage collector does not count shared memory, and would let that of hundreds of bodies pile up.
    const memory = new Set<ArrayBufferLike>()
    for (let count = 0; count < 100; count += 1) {
      const end = count % 3 === 0 ? new Error('cut') : 'end'
      const connection = new Connection([...pieces(receiveSize), ...(count % 2 === 0 ? ([end] as const) : [])])
      const { body } = connection
      const read = async (): Promise<void> => {
        let given = 0
        for (let chunk = await body.read(); chunk; chunk = await body.read()) {
          assert.ok(chunk.equals(content.subarray(given, given + chunk.length)))
          given += chunk.length
          memory.add(chunk.buffer)
          // The end may come when all has been read, to one who waits for it.
          if (given === content.length && count % 2 === 1) setImmediate(() => connection.bring(end))
        }
      }
      if (end === 'end') await read()
      else await assert.rejects(read(), end)
    }
    assert.ok(memory.size <= 6, `${memory.size} buffers`)
  })

  it('keeps what its reader has from others, where that one closes it, and leaves them the rest', async () => {
    const lent: { chunk: Buffer; copy: Buffer }[] = []
    const memory = new Set<ArrayBufferLike>()
    for (let count = 0; count < 20; count += 1) {
      const { body } = new Connection([...pieces(receiveSize), 'end'])
      // Closed while another piece is there.
      for (const _ of [1, 2, 3, 4]) await body.read()
      const chunk = (await body.read()) as Buffer
      lent.push({ chunk, copy: Buffer.from(chunk) })
      if (count % 2 === 0) body.close()
      else body.discard()
      const other = new Connection([...pieces(receiveSize).toReversed(), 'end']).body
      for (let next = await other.read(); next; next = await other.read()) memory.add(next.buffer)
    }
    for (const { chunk, copy } of lent) assert.ok(chunk.equals(copy))
    assert.equal(new Set(lent.map(({ chunk }) => chunk.buffer)).size, lent.length)
    // Each took one away, and no more.
    assert.ok(memory.size <= 6 + lent.length, `${memory.size} buffers`)
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
