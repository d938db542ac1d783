import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

interface Numbered {
  readonly id: number
}

/** What every request to a thread that has died is answered with. */
export class ThreadDied extends Error {
  override readonly name = 'ThreadDied'
}

/** Who hears what a thread says under one number. */
export interface ThreadListener<Answer> {
  readonly answered: (answer: Answer) => void
  /** Nothing more comes. */
  readonly died: (error: ThreadDied) => void
}

export type ThreadState = 'starting' | 'running' | 'dead'

export interface ThreadOptions {
  /** Of its file, without the extension. */
  readonly name: string
  /** The URL of a module beside that file. Both have the same extension: `.ts`, or `.js` once compiled. */
  readonly beside: string
  /** What the thread finds as `workerData`. */
  readonly data?: unknown
  /** Called when it ends, unless it was disposed of. */
  readonly onDeath: (error: ThreadDied) => void
}

/**
 * A thread for one kind of work. It says something under number 0 when it is ready, and then answers requests. It dies at
 * most once, and never keeps its process alive.
 */
export class Thread<Request extends Numbered, Answer extends Numbered> implements AsyncDisposable {
  /** Resolves when it runs, or is dead. */
  readonly begun: Promise<unknown>
  readonly #worker: Worker
  readonly #options: ThreadOptions
  readonly #listeners = new Map<number, ThreadListener<Answer>>()
  #state: ThreadState = 'starting'
  #cause: unknown
  #isDisposed = false

  /** Throws where the system has no thread to give. */
  constructor(options: ThreadOptions) {
    this.#options = options
    const file = new URL(`${options.name}${extname(options.beside)}`, options.beside)
    const worker = new Worker(file, {
      workerData: options.data,
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 },
    })
    this.#worker = worker
    worker.on('message', (answer: Answer) => {
      this.#state = 'running'
      this.#listeners.get(answer.id)?.answered(answer)
    })
    // Without a listener it would end the process; `exit` follows.
    worker.on('error', (error) => {
      this.#cause = error
    })
    worker.on('exit', () => this.#died())
    this.begun = new Promise((resolve) => worker.once('message', resolve).once('exit', resolve))
    // Last: to listen to it is to wait for it.
    worker.unref()
  }

  get state(): ThreadState {
    return this.#state
  }

  /** Numbers that somebody listens to. */
  get load(): number {
    return this.#listeners.size
  }

  post(request: Request): void {
    this.#worker.postMessage(request)
  }

  /** Hears everything that the thread says under a number, until `forget`. */
  listen(id: number, listener: ThreadListener<Answer>): void {
    if (this.#state === 'dead') listener.died(this.#death())
    else this.#listeners.set(id, listener)
  }

  forget(id: number): void {
    this.#listeners.delete(id)
  }

  /** For what is answered once. Rejects with ThreadDied. */
  ask(request: Request): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const answered = (answer: Answer): void => {
      this.forget(request.id)
      resolve(answer)
    }
    this.listen(request.id, { answered, died: reject })
    if (this.#state !== 'dead') this.post(request)
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    this.#worker.ref()
    // To end a thread that is just starting has been seen to abort the whole process.
    await this.begun
    await this.#worker.terminate()
  }

  #died(): void {
    this.#state = 'dead'
    const death = this.#death()
    if (!this.#isDisposed) this.#options.onDeath(death)
    const listeners = [...this.#listeners.values()]
    this.#listeners.clear()
    for (const { died } of listeners) died(death)
  }

  #death(): ThreadDied {
    return new ThreadDied(`the ${this.#options.name} has died`, { cause: this.#cause })
  }
}
