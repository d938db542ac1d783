import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

interface Numbered {
  readonly id: number
}

/** What every request to a thread that has died is answered with. */
export class ThreadDied extends Error {
  override readonly name = 'ThreadDied'
}

export type ThreadState = 'starting' | 'running' | 'dead'

export interface ThreadOptions {
  /** Of its file, without the extension. */
  readonly name: string
  /** The URL of a module beside that file. Both have the same extension: `.ts`, or `.js` once compiled. */
  readonly beside: string
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
    const file = new URL(`${options.name}${extname(options.beside)}`, options.beside)
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
