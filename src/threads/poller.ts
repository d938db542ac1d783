import { readSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import type { Libc } from './libc.ts'
import type { PollThreadData } from './poll-thread.ts'

const operations = { add: 1, remove: 2 }
const interests = { readable: 1, writable: 4 }
/** The kernel packs its events on one of the two. */
const event = process.arch === 'x64' ? { size: 12, data: 4 } : { size: 16, data: 8 }
const mostEvents = 64

/** What a thread of the kind of `PollThread` waits with: epoll(7), where the end of the waiting is a connection, or the bell. */
export class Poller {
  readonly #libc: Libc
  readonly #given: PollThreadData
  readonly #events = Buffer.alloc(mostEvents * event.size)
  readonly #event = Buffer.alloc(event.size)

  constructor(libc: Libc, given: PollThreadData) {
    this.#libc = libc
    this.#given = given
    this.#control('add', given.bell, interests.readable)
  }

  /** Waits until that one can be written to, too. False where the system refuses. */
  watch(descriptor: number): boolean {
    return this.#control('add', descriptor, interests.writable)
  }

  forget(descriptor: number): void {
    this.#control('remove', descriptor, 0)
  }

  /** Waits so many milliseconds at most, or until the bell rings. Returns those that are ready. */
  wait(milliseconds: number): readonly number[] {
    const count = this.#libc.epollWait(this.#given.epoll, this.#events, mostEvents, milliseconds)
    const ready: number[] = []
    for (let at = 0; at < count * event.size; at += event.size) {
      const descriptor = this.#events.readInt32LE(at + event.data)
      if (descriptor === this.#given.bell) readSync(this.#given.bell, this.#event, 0, 8, null)
      else ready.push(descriptor)
    }
    return ready
  }

  #control(operation: keyof typeof operations, descriptor: number, interest: number): boolean {
    this.#event.writeUInt32LE(interest, 0)
    this.#event.writeInt32LE(descriptor, event.data)
    return this.#libc.epollControl(this.#given.epoll, operations[operation], descriptor, this.#event) === 0
  }
}

/** Work on many connections. */
export interface Polling<Request> {
  readonly isBusy: boolean
  take(request: Request): void
  /** Waits for the connections that there are, and does what can be done. */
  turn(): void
}

/** Says that it is ready, and does such work until the thread ends. */
export function serve<Request>(port: MessagePort, polling: Polling<Request>): void {
  port.on('message', (request: Request) => {
    polling.take(request)
    while (polling.isBusy) {
      polling.turn()
      for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) polling.take(next.message)
    }
  })
  port.postMessage({ id: 0 })
  flushCompileCache()
}
