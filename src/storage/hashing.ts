import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Algorithm } from '../oci/digest.ts'

/** To the thread: a file to follow, how far it may be read by now, whether its digest is wanted. */
export type HashRequest =
  | { readonly kind: 'follow'; readonly id: number; readonly path: string; readonly algorithm: Algorithm }
  | { readonly kind: 'advance'; readonly id: number; readonly size: number }
  | { readonly kind: 'digest'; readonly id: number; readonly size: number }
  | { readonly kind: 'abandon'; readonly id: number }

/** From the thread: the digest that was asked for, in hex, or why there is none. */
export type HashAnswer =
  | { readonly id: number; readonly digest: string }
  | { readonly id: number; readonly error: string }

/** Growth, in bytes, that is worth telling the thread of. */
const step = 1024 * 1024

/** A growing file that is hashed behind its writer's back. */
export interface FileHash {
  /** The first `size` bytes are in the file. */
  advance(size: number): void
  /** The digest of the first `size` bytes, all of them in the file, in hex. Rejects where they cannot be read. Once, and last. */
  digest(size: number): Promise<string>
  /** It is not wanted any more. Instead of `digest`. */
  abandon(): void
}

/**
 * A thread that reads what has been written and hashes it, so that the event loop has its hands free. What it vouches for
 * is what the file holds. It starts when first needed, and again where it died.
 */
export class Hashing implements AsyncDisposable {
  readonly #waiting = new Map<number, PromiseWithResolvers<string>>()
  #worker: Worker | undefined
  #count = 0

  /** The file is opened soon, and must be there until then. Undefined where the system has no thread for it. */
  follow(path: string, algorithm: Algorithm): FileHash | undefined {
    const worker = this.#thread()
    if (!worker) return undefined
    this.#count += 1
    const id = this.#count
    let told = 0
    const tell = (request: HashRequest): void => worker.postMessage(request)
    tell({ kind: 'follow', id, path, algorithm })
    return {
      advance: (size) => {
        if (size - told < step) return
        told = size
        tell({ kind: 'advance', id, size })
      },
      digest: (size) => {
        if (worker !== this.#worker) return Promise.reject(new Error('the hashing thread has died'))
        const waiting = Promise.withResolvers<string>()
        this.#waiting.set(id, waiting)
        tell({ kind: 'digest', id, size })
        return waiting.promise
      },
      abandon: () => tell({ kind: 'abandon', id }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate()
  }

  #thread(): Worker | undefined {
    try {
      this.#worker ??= this.#start()
    } catch {
      // A limit on processes, most likely: it may have passed when the next one asks.
    }
    return this.#worker
  }

  #start(): Worker {
    const name = `hash-thread${extname(import.meta.filename)}`
    const worker = new Worker(new URL(name, import.meta.url), { resourceLimits: { maxYoungGenerationSizeMb: 2 } })
    worker.on('message', (answer: HashAnswer) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if ('digest' in answer) waiting?.resolve(answer.digest)
      else waiting?.reject(new Error(answer.error))
    })
    // Without a listener it would end the process; `exit` follows.
    worker.on('error', () => undefined)
    worker.on('exit', () => this.#ended(worker))
    // Last: to listen to it is to wait for it.
    worker.unref()
    return worker
  }

  #ended(worker: Worker): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    for (const waiting of this.#waiting.values()) waiting.reject(new Error('the hashing thread has died'))
    this.#waiting.clear()
  }
}
