import { readSync } from 'node:fs'
import type { Libc } from '../../threads/libc.ts'
import type { PollDescriptors } from './sendfile-pool.ts'

const operations = { add: 1, remove: 2 }
const interests = { readable: 1, writable: 4 }
/** The kernel packs its events on one of the two. */
const event = process.arch === 'x64' ? { size: 12, data: 4 } : { size: 16, data: 8 }
const mostEvents = 64

/** Waits for many connections at once by epoll(7), or until the bell, a descriptor of eventfd(2), rings. */
export class Poller {
  readonly #libc: Libc
  readonly #given: PollDescriptors
  readonly #events = Buffer.alloc(mostEvents * event.size)
  readonly #event = Buffer.alloc(event.size)

  constructor(libc: Libc, given: PollDescriptors) {
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
