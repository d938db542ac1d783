import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { type Libc, loadLibc } from '../../threads/libc.ts'
import { PollThread } from '../../threads/poll-thread.ts'
import { Crew } from '../../threads/pool.ts'
import type { ThreadDied } from '../../threads/thread.ts'
import type { Ring } from './ring.ts'
import type { RingMemory } from './ring-memory.ts'

/** How often a thread was called: it waits for that. */
export type Calls = Int32Array<SharedArrayBuffer>

/**
 * To the thread: that bytes of a socket, open until it answers, are to be written into a file and put into a ring, and the
 * thread called that empties it; or no longer.
 */
export type ReceiveRequest =
  | {
      readonly kind: 'receive'
      readonly id: number
      readonly socket: number
      readonly file: number
      readonly position: number
      readonly ring: RingMemory
      readonly calls: Calls
      readonly length: number
      readonly stall: number
    }
  | { readonly kind: 'stop'; readonly id: number; readonly socket: number }

/** From the thread: why nothing more comes, with the system's number of what has failed. */
export interface ReceiveAnswer {
  readonly id: number
  readonly end: 'whole' | 'closed' | 'stalled' | 'stopped' | 'failed'
  readonly error?: number | undefined
}

/** Where bytes go. */
export interface Sink {
  readonly ring: Ring
  /** Of the thread that empties it. */
  readonly calls: Calls
  /** Where they are written, if that goes without trouble; else it is left to that thread. Open until `ended`. */
  readonly file: number
  readonly position: number
}

/** Bytes of a connection. */
export interface Supply {
  /** The connection's descriptor. */
  readonly socket: number
  /** How many bytes are wanted of it. */
  readonly length: number
  /** Milliseconds without a byte. */
  readonly stall: number
}

/** Why nothing more comes: all is there; the other side has closed; it is silent; `stop`; or a system's error code. */
export type SupplyEnd = 'whole' | 'closed' | 'stalled' | 'stopped' | { readonly code: string }

/** Bytes on their way. */
export interface Received {
  /** Never rejects. */
  readonly ended: Promise<SupplyEnd>
  /** `ended` resolves soon. */
  stop(): void
}

/** Threads that receive large bodies, and pass them on to others that write them, so that the event loop has its hands free. */
export class Receiving implements AsyncDisposable {
  readonly #libc: Libc
  readonly #threads: Crew<PollThread<ReceiveRequest, ReceiveAnswer>>
  #count = 0

  /** Undefined where the system has it not. */
  static load(onDeath?: (error: ThreadDied) => void): Receiving | undefined {
    const libc = loadLibc()
    return libc && new Receiving(libc, onDeath)
  }

  private constructor(libc: Libc, onDeath: ((error: ThreadDied) => void) | undefined) {
    this.#libc = libc
    this.#threads = new Crew({
      start: (died) =>
        new PollThread({
          name: 'receive-thread',
          beside: import.meta.url,
          libc,
          data: {},
          bell: 'shared',
          onDeath: died,
        }),
      onDeath,
    })
  }

  /** Writes what comes from a non-blocking socket, and puts it into a ring. Undefined where there is no thread for it, or not yet. */
  into({ ring, calls, file, position }: Sink, { socket, length, stall }: Supply): Received | undefined {
    const thread = this.#threads.idlest()
    // Of our own: the connection may end meanwhile, and its number be that of another.
    const from = thread ? this.#libc.dup(socket) : -1
    if (!thread || from < 0) return undefined
    this.#count += 1
    const id = this.#count
    ring.handOver(thread.bell)
    const answer = thread.ask({
      kind: 'receive',
      id,
      socket: from,
      ring: ring.memory,
      calls,
      file,
      position,
      length,
      stall,
    })
    return {
      ended: answer.then(endOf, (): SupplyEnd => 'stopped').finally(() => closeSync(from)),
      stop: () => thread.tell({ kind: 'stop', id, socket: from }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]()
  }
}

function endOf({ end, error = 0 }: ReceiveAnswer): SupplyEnd {
  return end === 'failed' ? { code: getSystemErrorName(-error) } : end
}
