import type { Calls, ReceiveAnswer, ReceiveRequest, Supply } from '../../src/storage/spool/receiving.ts'
import type { Ring } from '../../src/storage/spool/ring.ts'
import type { WriteAnswer, WriteRequest } from '../../src/storage/spool/writing.ts'
import { loadLibc } from '../../src/threads/libc.ts'
import { PollThread } from '../../src/threads/poll-thread.ts'
import { Thread } from '../../src/threads/thread.ts'
import type { Receiver } from './receiver.ts'

export interface ClockedData {
  /** The module that the thread runs. */
  readonly file: string
  /** The time, in milliseconds. */
  readonly clock: Int32Array<SharedArrayBuffer>
  /** How many writes there were, and of each from where to where in the file. */
  readonly notes: Int32Array<SharedArrayBuffer>
}

const thread = { name: 'clocked-thread', beside: import.meta.url }

function shared(numbers: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4 * numbers))
}

/** Time in a thread: it stands still but for `pass`. */
class Clock {
  readonly data: ClockedData

  constructor(thread: string) {
    const file = new URL(`../../src/storage/spool/${thread}.ts`, import.meta.url).href
    this.data = { file, clock: shared(1), notes: shared(2000) }
  }

  pass(milliseconds: number): void {
    Atomics.add(this.data.clock, 0, milliseconds)
  }

  /** What the thread has written so far, by one call each. */
  get writes(): { from: number; to: number }[] {
    const { notes } = this.data
    return Array.from({ length: Atomics.load(notes, 0) }, (_, index) => ({
      from: notes[1 + 2 * index] ?? 0,
      to: notes[2 + 2 * index] ?? 0,
    }))
  }
}

function fail(error: Error): void {
  throw error
}

/** A thread that writes one file, whose time stands still. */
export class ClockedWriter implements AsyncDisposable {
  readonly clock = new Clock('write-thread')
  readonly calls: Calls = shared(1)
  readonly #messages = shared(1)
  readonly #ring: Ring
  readonly #thread: Thread<WriteRequest, WriteAnswer>
  #asked = 0

  constructor(file: number, ring: Ring) {
    this.#ring = ring
    const data = { ...this.clock.data, calls: this.calls, messages: this.#messages }
    this.#thread = new Thread({ ...thread, data, onDeath: fail })
    this.#tell({ kind: 'open', id: 0, file, algorithm: 'sha256', size: ring.taken, ring: ring.memory })
  }

  /** Says that there is more in the ring. */
  call(): void {
    Atomics.add(this.calls, 0, 1)
    Atomics.notify(this.calls, 0)
  }

  /** Resolves when it has come so far. */
  async until(what: 'room' | 'empty' | number): Promise<void> {
    this.#asked += 1
    const answer = this.#thread.expect(this.#asked)
    this.#ring.ask(this.#asked, what)
    this.call()
    const { error } = await answer
    if (error) throw new Error(error.message)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread[Symbol.asyncDispose]()
  }

  #tell(request: WriteRequest): void {
    this.#thread.tell(request)
    Atomics.add(this.#messages, 0, 1)
    this.call()
  }
}

/** A thread that receives, whose time stands still. */
export class ClockedReceiving implements AsyncDisposable {
  readonly clock = new Clock('receive-thread')
  readonly #thread: PollThread<ReceiveRequest, ReceiveAnswer>
  #count = 0

  constructor() {
    const libc = loadLibc()
    if (!libc) throw new Error('recv(2) cannot be called here')
    this.#thread = new PollThread({ ...thread, libc, data: this.clock.data, bell: 'shared', onDeath: fail })
  }

  /** As `Receiving` does it. The connection has to stay open. */
  into(receiver: Receiver, file: number, { socket, length, stall }: Supply) {
    const { ring, calls } = receiver
    this.#count += 1
    const id = this.#count
    const position = ring.taken + ring.backlog
    ring.handOver(this.#thread.bell)
    return {
      ended: this.#thread.ask({ kind: 'receive', id, socket, file, position, ring: ring.memory, calls, length, stall }),
      stop: () => this.#thread.tell({ kind: 'stop', id, socket }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread[Symbol.asyncDispose]()
  }
}
