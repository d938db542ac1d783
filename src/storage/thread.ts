import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

interface Numbered {
  readonly id: number
}

/** What every request to a thread that has died is answered with. */
export class ThreadDied extends Error {
  override readonly name = 'ThreadDied'
}

type ThreadState = 'starting' | 'running' | 'dead'

export interface ThreadOptions {
  /** Of a file beside this one. */
  readonly name: string
  /** What the thread finds as `workerData`. */
  readonly data?: unknown
  /** Told of its end, unless it was disposed of. */
  readonly onDeath: (error: ThreadDied) => void
}

/**
 * A thread for one kind of work, which says something, of number 0, when it is ready, and then answers requests. It dies at most
 * once, and never keeps its process alive.
 */
export class Thread<Request extends Numbered, Answer extends Numbered> implements AsyncDisposable {
  readonly #worker: Worker
  readonly #options: ThreadOptions
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>()
  readonly #begun: Promise<unknown>
  #state: ThreadState = 'starting'
  #cause: unknown
  #isDisposed = false

  /** Throws where the system has no thread to give. */
  constructor(options: ThreadOptions) {
    this.#options = options
    const file = new URL(`${options.name}${extname(import.meta.filename)}`, import.meta.url)
    const worker = new Worker(file, {
      workerData: options.data,
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
    })
    this.#worker = worker
    worker.on('message', (answer: Answer) => {
      this.#state = 'running'
      this.#waiting.get(answer.id)?.resolve(answer)
      this.#waiting.delete(answer.id)
    })
    // Without a listener it would end the process; `exit` follows.
    worker.on('error', (error) => {
      this.#cause = error
    })
    worker.on('exit', () => this.#died())
    this.#begun = new Promise((resolve) => worker.once('message', resolve).once('exit', resolve))
    // Last: to listen to it is to wait for it.
    worker.unref()
  }

  get state(): ThreadState {
    return this.#state
  }

  /** Requests that have not been answered. */
  get load(): number {
    return this.#waiting.size
  }

  tell(request: Request): void {
    this.#worker.postMessage(request)
  }

  /** Rejects with ThreadDied. */
  ask(request: Request): Promise<Answer> {
    const answer = this.expect(request.id)
    if (this.#state !== 'dead') this.tell(request)
    return answer
  }

  /** The answer of that number, to what the thread is asked in another way. Rejects with ThreadDied. */
  expect(id: number): Promise<Answer> {
    const waiting = Promise.withResolvers<Answer>()
    if (this.#state === 'dead') waiting.reject(this.#death())
    else this.#waiting.set(id, waiting)
    return waiting.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    this.#worker.ref()
    // To end a thread that is just starting has been seen to abort the whole process.
    await this.#begun
    await this.#worker.terminate()
  }

  #died(): void {
    this.#state = 'dead'
    const death = this.#death()
    if (!this.#isDisposed) this.#options.onDeath(death)
    for (const waiting of this.#waiting.values()) waiting.reject(death)
    this.#waiting.clear()
  }

  #death(): ThreadDied {
    return new ThreadDied(`the ${this.#options.name} has died`, { cause: this.#cause })
  }
}

const mostThreads = Math.min(availableParallelism(), 4)
/** Milliseconds. What killed one thread may kill the next, so there is none for so long. */
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
