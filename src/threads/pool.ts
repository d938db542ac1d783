import { availableParallelism } from 'node:os'
import type { ThreadDied, ThreadState } from './thread.ts'

const mostThreads = Math.min(availableParallelism(), 4)
/** Milliseconds after the death of a thread in which no other starts: the same cause may kill it. */
const pauseAfterDeath = 60_000

interface PooledThread extends AsyncDisposable {
  readonly state: ThreadState
  readonly load: number
}

export interface ThreadPoolOptions<T> {
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
export class ThreadPool<T extends PooledThread> implements AsyncDisposable {
  readonly #options: ThreadPoolOptions<T>
  readonly #threads = new Set<T>()
  #diedAt = Number.NEGATIVE_INFINITY
  #isDisposed = false

  constructor(options: ThreadPoolOptions<T>) {
    this.#options = options
  }

  /** The thread with the least to do; undefined where none is running yet. Starts another one where all are busy. */
  leastBusy(): T | undefined {
    let best: T | undefined
    for (const thread of this.#threads) {
      if (thread.state === 'dead') this.#remove(thread)
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
    const diedJustNow = performance.now() - this.#diedAt < pauseAfterDeath
    if (this.#isDisposed || isStarting || diedJustNow || this.#threads.size === mostThreads) return
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

  #remove(thread: T): void {
    this.#threads.delete(thread)
    void thread[Symbol.asyncDispose]()
  }
}
