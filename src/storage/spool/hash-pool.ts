import type { Algorithm } from '../../oci/digest.ts'
import { ThreadPool } from '../../threads/pool.ts'
import { Thread, type ThreadDied } from '../../threads/thread.ts'

/** To the thread, about one open file: `job` is the number of its `open`. */
export type HashRequest = { readonly id: number; readonly job: number } & (
  | { readonly kind: 'open'; readonly file: number; readonly algorithm: Algorithm }
  /** The file has so many bytes now: hash up to there. */
  | { readonly kind: 'advance'; readonly end: number }
  /** Hash up to there, and answer with the digest. */
  | { readonly kind: 'digest'; readonly end: number }
  /** Do not touch the file any more, and answer. */
  | { readonly kind: 'close' }
)

/** From the thread, to `digest` and `close`. */
export interface HashAnswer {
  readonly id: number
  /** In hex. */
  readonly digest?: string | undefined
  /** Why the file cannot be read. */
  readonly error?: string | undefined
}

/** Threads that hash files while these grow, by reading them: the kernel still has in memory what was just written. */
export class HashPool extends ThreadPool<HashThread> {
  constructor(onDeath?: (error: ThreadDied) => void) {
    super({ start: (died) => new HashThread(died), onDeath })
  }

  /** Undefined where no thread runs, or none yet. The file stays open until the job is closed. */
  open(file: number, algorithm: Algorithm): HashJob | undefined {
    const thread = this.leastBusy()
    return thread && new HashJob(thread, file, algorithm)
  }
}

/** The hashing of one file by a thread. */
export class HashJob {
  readonly #thread: HashThread
  readonly #job: number
  #isClosed = false

  constructor(thread: HashThread, file: number, algorithm: Algorithm) {
    this.#thread = thread
    this.#job = thread.nextId()
    thread.jobs += 1
    thread.post({ kind: 'open', id: this.#job, job: this.#job, file, algorithm })
  }

  /** The file has so many bytes now. */
  advance(end: number): void {
    this.#thread.post({ kind: 'advance', id: this.#thread.nextId(), job: this.#job, end })
  }

  /** Of the file's first `end` bytes, in hex. Rejects with ThreadDied, or where the file cannot be read. */
  async digest(end: number): Promise<string> {
    const { digest, error } = await this.#thread.ask({ kind: 'digest', id: this.#thread.nextId(), job: this.#job, end })
    if (digest === undefined) throw new Error(error)
    return digest
  }

  /** Resolves when the thread does not touch the file any more. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#thread.ask({ kind: 'close', id: this.#thread.nextId(), job: this.#job }).catch(() => undefined)
    this.#thread.jobs -= 1
  }
}

class HashThread extends Thread<HashRequest, HashAnswer> {
  /** Open ones. */
  jobs = 0
  #lastId = 0

  constructor(onDeath: (error: ThreadDied) => void) {
    super({ name: 'hash-thread', beside: import.meta.url, onDeath })
  }

  override get load(): number {
    return this.jobs
  }

  nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }
}
