import { closeSync } from 'node:fs'
import { ring } from './bell.ts'
import type { Libc } from './libc.ts'
import { Thread, type ThreadOptions } from './thread.ts'

/** What such a thread starts with, as descriptors: an epoll instance, and the bell that ends its waiting. */
export interface PollThreadData {
  readonly epoll: number
  readonly bell: number
}

export interface PollThreadOptions extends Pick<ThreadOptions, 'name' | 'beside' | 'onDeath'> {
  readonly libc: Libc
  /** What it finds as `workerData` besides. */
  readonly data: object
}

const nonBlocking = 0o4000

/** A thread that waits for many connections at once, by a `Poller`. */
export class PollThread<Request extends { id: number }, Answer extends { id: number }> extends Thread<Request, Answer> {
  readonly #descriptors: PollThreadData

  /** Throws where the system has no thread to give. */
  constructor({ name, beside, libc, data, onDeath }: PollThreadOptions) {
    const descriptors = { epoll: libc.epollCreate(0), bell: libc.eventfd(0, nonBlocking) }
    try {
      if (descriptors.epoll < 0 || descriptors.bell < 0) throw new Error('no descriptors left')
      super({ name, beside, data: { ...data, ...descriptors }, onDeath })
    } catch (error) {
      release(descriptors)
      throw error
    }
    this.#descriptors = descriptors
  }

  /** The descriptor that wakes it. */
  get bell(): number {
    return this.#descriptors.bell
  }

  /** And wakes it, where it waits for connections. */
  override tell(request: Request): void {
    super.tell(request)
    if (this.state !== 'dead') ring(this.bell)
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]()
    release(this.#descriptors)
  }
}

function release({ epoll, bell }: PollThreadData): void {
  for (const descriptor of [epoll, bell]) if (descriptor >= 0) closeSync(descriptor)
}
