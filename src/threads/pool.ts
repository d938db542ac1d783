import { availableParallelism } from 'node:os'
import type { ThreadDied, ThreadState } from './thread.ts'

const mostThreads = Math.min(availableParallelism(), 4)
/** Milliseconds. What killed one thread may kill the next, so there is none for so long. */
const mourning = 60_000

interface Worked extends AsyncDisposable {
  readonly state: ThreadState
  readonly load: number
  /** Resolves when it runs, or is dead. */
  readonly begun: Promise<unknown>
}

export interface CrewOptions<T> {
  /** Throws where the system has no thread to give. */
  readonly start: (onDeath: (error: ThreadDied) => void) => T
  readonly onDeath?: ((error: ThreadDied) => void) | undefined
}

/** Threads of one kind, as many as there is work for, and processors up to four. */
export class Crew<T extends Worked> implements AsyncDisposable {
  readonly #options: CrewOptions<T>
  readonly #threads = new Set<T>()
  #diedAt = Number.NEGATIVE_INFINITY
  #isDisposed = false

  constructor(options: CrewOptions<T>) {
    this.#options = options
  }

  /** The one with the least to do; undefined where none runs, or not yet: as long as all are busy, another one is on its way. */
  idlest(): T | undefined {
    let best: T | undefined
    for (const thread of this.#threads) {
      if (thread.state === 'dead') this.#bury(thread)
      else if (thread.state === 'running' && thread.load < (best?.load ?? Number.POSITIVE_INFINITY)) best = thread
    }
    if (best?.load !== 0) this.#start()
    return best
  }

  /** The same, where one that is being started is waited for. */
  async available(): Promise<T | undefined> {
    const ready = this.idlest()
    if (ready) return ready
    await Promise.all([...this.#threads].map(({ begun }) => begun))
    return this.idlest()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    const threads = [...this.#threads]
    // Each of them once: what it had open is another's afterwards.
    this.#threads.clear()
    await Promise.all(threads.map((thread) => thread[Symbol.asyncDispose]()))
  }

  /** One at a time. */
  #start(): void {
    const isStarting = [...this.#threads].some(({ state }) => state === 'starting')
    const isMourning = performance.now() - this.#diedAt < mourning
    if (this.#isDisposed || isStarting || isMourning || this.#threads.size === mostThreads) return
    const { start, onDeath } = this.#options
    const died = (error: ThreadDied): void => {
      this.#diedAt = performance.now()
      onDeath?.(error)
    }
    try {
      this.#threads.add(start(died))
    } catch {
      // A limit on processes, most likely: it may have passed when the next one asks.
    }
  }

  #bury(thread: T): void {
    this.#threads.delete(thread)
    void thread[Symbol.asyncDispose]()
  }
}
