import { closeSync, writeSync } from 'node:fs'
import { type Libc, loadLibc } from '../../threads/libc.ts'
import { ThreadPool } from '../../threads/pool.ts'
import { Thread, type ThreadDied } from '../../threads/thread.ts'
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

/** What the thread waits with: an epoll instance, and the bell that ends its waiting, a descriptor of eventfd(2). */
export interface PollDescriptors {
  readonly epoll: number
  readonly bell: number
}

/** `workerData` of the thread. */
export interface SendThreadData extends PollDescriptors, SendTimeouts {}

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
const nonBlocking = 0o4000
const ring = Buffer.from(BigUint64Array.of(1n).buffer)

const nothingStarted: SendfileJob = { moved: Promise.resolve(nothingMoved), stop: () => undefined }

/**
 * Threads that move bytes from the page cache into connections by sendfile(2), at a third of the CPU that reading and
 * writing take. A thread serves all its connections at once. It never waits for the disk, where the file system can say
 * what is in memory: other bytes are left to `read`.
 */
export class SendfilePool extends ThreadPool<SendThread> {
  readonly #libc: Libc
  #count = 0

  /** Undefined where the system cannot do it. */
  static load({ idle = 1000, busy = 5000, onDeath }: SendfilePoolOptions = {}): SendfilePool | undefined {
    const libc = loadLibc()
    return libc && new SendfilePool(libc, { idle, busy }, onDeath)
  }

  private constructor(libc: Libc, timeouts: SendTimeouts, onDeath: SendfilePoolOptions['onDeath']) {
    super({ start: (died) => SendThread.start(libc, timeouts, died), onDeath })
    this.#libc = libc
  }

  /**
   * Moves up to `length` bytes at `position` of an open file into a non-blocking socket, until the socket takes no more
   * or a time-out ends it. Never rejects: the next read or write reports a broken file, or a client that has left.
   */
  move(file: number, socket: number, { position, length }: { position: number; length: number }): SendfileJob {
    const thread = length < minMoved ? undefined : this.leastBusy()
    // A descriptor of our own: the connection may end meanwhile, and another client's may get its number.
    const out = thread ? this.#libc.dup(socket) : -1
    if (!thread || out < 0) return nothingStarted
    this.#count += 1
    const id = this.#count
    return {
      moved: this.#ask(thread, { kind: 'move', id, socket: out, file, position, length }),
      stop: () => thread.post({ kind: 'stop', id, socket: out }),
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

class SendThread extends Thread<SendRequest, SendAnswer> {
  readonly #descriptors: PollDescriptors

  /** Throws where the system has no thread or no descriptors to give. */
  static start(libc: Libc, timeouts: SendTimeouts, onDeath: (error: ThreadDied) => void): SendThread {
    const descriptors = { epoll: libc.epollCreate(0), bell: libc.eventfd(0, nonBlocking) }
    try {
      if (descriptors.epoll < 0 || descriptors.bell < 0) throw new Error('no descriptors left')
      return new SendThread({ ...timeouts, ...descriptors }, onDeath)
    } catch (error) {
      release(descriptors)
      throw error
    }
  }

  private constructor(data: SendThreadData, onDeath: (error: ThreadDied) => void) {
    super({ name: 'send-thread', beside: import.meta.url, data, onDeath })
    this.#descriptors = data
  }

  /** And wakes it, where it waits for connections. */
  override post(request: SendRequest): void {
    super.post(request)
    if (this.state !== 'dead') writeSync(this.#descriptors.bell, ring)
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]()
    release(this.#descriptors)
  }
}

function release({ epoll, bell }: PollDescriptors): void {
  for (const descriptor of [epoll, bell]) if (descriptor >= 0) closeSync(descriptor)
}
