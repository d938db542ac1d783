import { closeSync } from 'node:fs'
import { type Libc, loadLibc } from '../../threads/libc.ts'
import { PollThread, type PollThreadData } from '../../threads/poll-thread.ts'
import { Crew } from '../../threads/pool.ts'
import type { ThreadDied } from '../../threads/thread.ts'
import { type Moved, nothingMoved } from '../body-reader.ts'

/** To the thread: move bytes of a file into a socket, both open until the thread answers; or stop that. */
export type SendRequest =
  | {
      readonly kind: 'move'
      readonly id: number
      readonly socket: number
      readonly file: number
      readonly position: number
      readonly length: number
    }
  | { readonly kind: 'stop'; readonly id: number; readonly socket: number }

/**
 * From the thread: how many bytes were moved. `full`: the next ones cannot be moved now. `absent`: since they are not
 * in memory.
 */
export interface SendAnswer {
  readonly id: number
  readonly bytes: number
  readonly full: boolean
  readonly absent: boolean
}

/** Milliseconds after which the thread answers, although not everything is moved. */
export interface SendTimeouts {
  /** For a connection that takes nothing. */
  readonly idle: number
  /** For a connection that takes bytes, so that they are counted in time. */
  readonly busy: number
}

/** `workerData` of the thread. */
export interface SendThreadData extends PollThreadData, SendTimeouts {}

export interface SendfilePoolOptions extends Partial<SendTimeouts> {
  readonly onDeath?: ((error: ThreadDied) => void) | undefined
}

/** Bytes that a thread is moving. */
export interface SendfileJob {
  readonly moved: Promise<Moved & { readonly absent?: boolean }>
  /** Makes `moved` resolve soon. */
  stop(): void
}

/** Bytes. To read and write fewer costs no more than a trip to a thread. */
const minMoved = 64 * 1024
const bothWays = 2
const tcp = { level: 6, cork: 3 }
const [off, on] = [Buffer.from(Int32Array.of(0).buffer), Buffer.from(Int32Array.of(1).buffer)]
type SendThread = PollThread<SendRequest, SendAnswer>

const nothingStarted: SendfileJob = { moved: Promise.resolve(nothingMoved), stop: () => undefined }

/**
 * Threads that move bytes from the page cache into connections by sendfile(2), at a third of the CPU that reading and
 * writing take. A thread serves all its connections at once. It never waits for the disk, where the file system can say
 * what is in memory: other bytes are left to `read`.
 */
export class SendfilePool implements AsyncDisposable {
  readonly #libc: Libc
  readonly #threads: Crew<SendThread>
  #count = 0

  /** Undefined where the system cannot do it. */
  static load({ idle = 1000, busy = 5000, onDeath }: SendfilePoolOptions = {}): SendfilePool | undefined {
    const libc = loadLibc()
    return libc && new SendfilePool(libc, { idle, busy }, onDeath)
  }

  private constructor(libc: Libc, timeouts: SendTimeouts, onDeath: SendfilePoolOptions['onDeath']) {
    this.#libc = libc
    this.#threads = new Crew({
      start: (died) =>
        new PollThread({
          name: 'send-thread',
          beside: import.meta.url,
          libc,
          data: timeouts,
          onDeath: died,
        }),
      onDeath,
    })
  }

  /**
   * Moves up to `length` bytes at `position` of an open file into a non-blocking socket, until the socket takes no more
   * or a time-out ends it. Never rejects: the next read or write reports a broken file, or a client that has left.
   */
  move(file: number, socket: number, { position, length }: { position: number; length: number }): SendfileJob {
    const thread = length < minMoved ? undefined : this.#threads.idlest()
    // A descriptor of our own: the connection may end meanwhile, and another client's may get its number.
    const out = thread ? this.#libc.dup(socket) : -1
    if (!thread || out < 0) return nothingStarted
    this.#count += 1
    const id = this.#count
    return {
      moved: this.#ask(thread, { kind: 'move', id, socket: out, file, position, length }),
      stop: () => thread.tell({ kind: 'stop', id, socket: out }),
    }
  }

  /**
   * Makes a socket send full segments only, until the returned function is called. Call that before the socket closes.
   */
  cork(socket: number): () => void {
    const set = (value: Buffer): unknown => this.#libc.setsockopt(socket, tcp.level, tcp.cork, value, value.length)
    set(on)
    return () => set(off)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]()
  }

  async #ask(thread: SendThread, request: SendRequest & { kind: 'move' }): SendfileJob['moved'] {
    try {
      const { bytes, full, absent } = await thread.ask(request)
      return { bytes, full, ...(absent && { absent }) }
    } catch {
      // The thread died. Nobody knows how many bytes it moved, so nothing may follow them.
      this.#libc.shutdown(request.socket, bothWays)
      return nothingMoved
    } finally {
      closeSync(request.socket)
    }
  }
}
