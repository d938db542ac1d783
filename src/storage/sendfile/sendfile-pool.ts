import { closeSync } from 'node:fs'
import { type Libc, loadLibc } from '../../threads/libc.ts'
import { PollThread, type PollThreadData } from '../../threads/poll-thread.ts'
import { Crew } from '../../threads/pool.ts'
import type { ThreadDied } from '../../threads/thread.ts'
import { type Moved, nothingMoved } from '../body-reader.ts'

/** To the thread: bytes of a file to move into a socket, both of them open until it answers; or to stop doing so. */
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
 * From the thread: how many of the bytes were moved; and, of those that come next, whether they cannot be moved now, and
 * whether that is because they are not in memory.
 */
export interface SendAnswer {
  readonly id: number
  readonly bytes: number
  readonly full: boolean
  readonly absent: boolean
}

/** In milliseconds, after which a connection is given back. */
export interface SendTimeouts {
  /** One that takes nothing. */
  readonly idle: number
  /** One that takes what it is given: so that this is accounted for before long. */
  readonly busy: number
}

/** What the thread starts with. */
export interface SendThreadData extends PollThreadData, SendTimeouts {}

export interface SendfilePoolOptions extends Partial<SendTimeouts> {
  readonly onDeath?: ((error: ThreadDied) => void) | undefined
}

/** Bytes on their way. */
export interface SendfileJob {
  readonly moved: Promise<Moved & { readonly absent?: boolean }>
  /** `moved` resolves soon. */
  stop(): void
}

/** Below this, in bytes, reading and writing is as cheap as a trip to a thread. */
const minMoved = 64 * 1024
const bothWays = 2
const tcp = { level: 6, cork: 3 }
const [off, on] = [Buffer.from(Int32Array.of(0).buffer), Buffer.from(Int32Array.of(1).buffer)]
type SendThread = PollThread<SendRequest, SendAnswer>

const nothingStarted: SendfileJob = { moved: Promise.resolve(nothingMoved), stop: () => undefined }

/**
 * Threads that move bytes from the disk cache into connections by sendfile(2), without passing them through this process,
 * at a third of the CPU that reading and writing take. A thread waits for all its connections at once, and not for the
 * disk where the file system can say what is in memory: what is not is left to be read.
 */
export class SendfilePool implements AsyncDisposable {
  readonly #libc: Libc
  readonly #threads: Crew<SendThread>
  #count = 0

  /** Undefined where the system has it not. */
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
   * Moves up to `length` bytes at `position` of an open file into a non-blocking socket, for a while, or until it takes no
   * more. Never rejects: a file that cannot be read, or a client that has left, is told by whatever comes next.
   */
  move(file: number, socket: number, { position, length }: { position: number; length: number }): SendfileJob {
    const thread = length < minMoved ? undefined : this.#threads.idlest()
    // Of our own: the connection may end meanwhile, and its number be that of another client's.
    const out = thread ? this.#libc.dup(socket) : -1
    if (!thread || out < 0) return nothingStarted
    this.#count += 1
    const id = this.#count
    return {
      moved: this.#ask(thread, { kind: 'move', id, socket: out, file, position, length }),
      stop: () => thread.tell({ kind: 'stop', id, socket: out }),
    }
  }

  /** Has whole segments only leave a socket, until what it returns is called, while that is the same socket. */
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
      // Nobody knows how much of it was moved, so nothing may follow.
      this.#libc.shutdown(request.socket, bothWays)
      return nothingMoved
    } finally {
      closeSync(request.socket)
    }
  }
}
