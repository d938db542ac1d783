import { availableParallelism } from 'node:os'
import type { ThreadDied, ThreadState } from './thread.ts'

const mostThreads = Math.min(availableParallelism(), 4)
/** Milliseconds after a death in which no thread starts: the same cause may kill the next one. */
const mourning = 60_000

interface Worked extends AsyncDisposable {
  readonly state: ThreadState
  readonly load: number
}

export interface CrewOptions<T> {
  /** Throws where the system has no thread to give. */
  readonly start: (onDeath: (error: ThreadDied) => void) => T
  readonly onDeath?: ((error: ThreadDied) => void) | undefined
}

/**
 * Threads of one kind: as many as there is work for, up to the number of processors, and four at most.
 *
 *     state of a thread    leaves the state
 *     starting             its first message → running; an error → dead. One starts at a time
 *     running              an error → dead. Takes work
 *     dead                 removed when work is next given out. No thread starts for a minute
 */
export class Crew<T extends Worked> implements AsyncDisposable {
  readonly #options: CrewOptions<T>
  readonly #threads = new Set<T>()
  #diedAt = Number.NEGATIVE_INFINITY
  #isDisposed = false

  constructor(options: CrewOptions<T>) {
    this.#options = options
  }

  /** The thread with the least to do; undefined where none is running yet. Starts another one where all are busy. */
  idlest(): T | undefined {
    let best: T | undefined
    for (const thread of this.#threads) {
      if (thread.state === 'dead') this.#bury(thread)
      else if (thread.state === 'running' && thread.load < (best?.load ?? Number.POSITIVE_INFINITY)) best = thread
    }
    if (best?.load !== 0) this.#start()
    return best
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    const threads = [...this.#threads]
    // Each is disposed of once: afterwards its descriptors may belong to others.
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
      // Most likely a limit on processes. The next call tries again.
    }
  }

  #bury(thread: T): void {
    this.#threads.delete(thread)
    void thread[Symbol.asyncDispose]()
  }
}
