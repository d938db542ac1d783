import { createHash, type Hash } from 'node:crypto'
import { readSync, writeSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { ring } from '../../threads/bell.ts'
import { RingEnd } from './ring-ends.ts'
import { patience } from './ring-memory.ts'
import type { WriteAnswer, WriteRequest, WriteThreadData } from './writing.ts'

/** The other side of `Writing`: a thread that may wait for the disk. */

/** Milliseconds. It is called for whatever there is to do, and looks even if not. */
const tick = 1000

class WrittenFile {
  readonly #descriptor: number
  readonly #ring: RingEnd
  readonly #hash: Hash
  /** What is there to be hashed first. */
  readonly #start: number
  #size = 0
  #error: WriteAnswer['error']
  /** When it was first seen that the next bytes are less than a piece. */
  #seenAt: number | undefined

  constructor({ file, algorithm, size, ring }: WriteRequest & { kind: 'open' }) {
    this.#descriptor = file
    this.#ring = new RingEnd(ring)
    this.#hash = createHash(algorithm)
    this.#start = size
    this.retry()
  }

  /** Does what is to be done, and tells in how many milliseconds more is. */
  write(): number {
    const bytes = this.#ring.next()
    if (this.#error || bytes.length === 0) return tick
    const { areSaved } = this.#ring
    const delay = areSaved || this.#ring.isRound(bytes.length) ? 0 : this.#delay()
    if (delay > 0) return delay
    this.#seenAt = undefined
    this.#try(() => {
      const written = areSaved ? bytes.length : writeSync(this.#descriptor, bytes, 0, bytes.length, this.#size)
      this.#hash.update(bytes.subarray(0, written))
      this.#size += written
      const bell = this.#ring.take(written)
      if (bell !== undefined) ring(bell)
    })
    return 0
  }

  /** How much longer to wait for the rest of a piece. */
  #delay(): number {
    const now = performance.now()
    this.#seenAt ??= now
    return Math.max(0, this.#seenAt + patience - now)
  }

  /** To what was asked, where it has come so far, or comes no further. */
  answer(): WriteAnswer | undefined {
    const id = this.#ring.question(this.#error !== undefined)
    return id === 0 ? undefined : { id, error: this.#error }
  }

  retry(): void {
    this.#error = undefined
    this.#try(() => this.#readBack(this.#start))
  }

  digest(): Omit<WriteAnswer, 'id'> {
    return this.#error ? { error: this.#error } : { digest: this.#hash.copy().digest('hex') }
  }

  #try(work: () => void): void {
    try {
      work()
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException
      this.#error = { message, code }
    }
  }

  #readBack(size: number): void {
    const buffer = Buffer.allocUnsafeSlow(256 * 1024)
    while (this.#size < size) {
      const bytes = readSync(this.#descriptor, buffer, 0, Math.min(buffer.length, size - this.#size), this.#size)
      if (bytes === 0) throw new Error(`the file ended at ${this.#size}, before ${size}`)
      this.#hash.update(buffer.subarray(0, bytes))
      this.#size += bytes
    }
  }
}

const files = new Map<number, WrittenFile>()

function take(request: WriteRequest): WriteAnswer | undefined {
  const { kind, id } = request
  if (kind === 'open') files.set(request.file, new WrittenFile(request))
  else if (kind === 'digest') return { id, ...files.get(request.file)?.digest() }
  else {
    if (kind === 'retry') files.get(request.file)?.retry()
    else files.delete(request.file)
    return { id }
  }
  return undefined
}

function work(port: NonNullable<typeof parentPort>, { calls, messages }: WriteThreadData): void {
  let heard = 0
  const answer = (said: WriteAnswer | undefined): void => {
    if (said) port.postMessage(said)
  }
  const takeMessages = (): void => {
    const sent = Atomics.load(messages, 0)
    if (sent === heard) return
    heard = sent
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) answer(take(next.message))
  }
  port.on('message', (request: WriteRequest) => {
    answer(take(request))
    while (files.size > 0) {
      const called = Atomics.load(calls, 0)
      takeMessages()
      let idle = tick
      for (const file of files.values()) {
        idle = Math.min(idle, file.write())
        answer(file.answer())
      }
      if (idle > 0 && Atomics.wait(calls, 0, called, idle) === 'timed-out') heard = -1
    }
  })
  port.postMessage({ id: 0 })
  flushCompileCache()
}

if (parentPort) work(parentPort, workerData)
