import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { UpstreamCommand, UpstreamMessage, UpstreamSettings } from './upstream-thread.ts'

/** Milliseconds until it is ended though it has not closed its connections. */
const patience = 5000

type Told = Exclude<UpstreamMessage, { readonly type: 'ready' | 'done' }>
type Body<T> = T extends unknown ? Omit<T, 'id'> : never

/** The upstream, in a thread of its own so that neither waits for the other. */
export class UpstreamHandle implements AsyncDisposable {
  readonly url: string
  readonly #worker: Worker
  readonly #waiting = new Map<number, () => void>()
  #sent = 0

  private constructor(worker: Worker, url: string, onTold: (told: Told) => void) {
    this.#worker = worker
    this.url = url
    worker.on('message', (message: UpstreamMessage) => {
      if (message.type === 'done') this.#waiting.get(message.id)?.()
      else if (message.type !== 'ready') onTold(message)
    })
  }

  static async start(settings: UpstreamSettings, onTold: (told: Told) => void): Promise<UpstreamHandle> {
    const worker = new Worker(new URL('./upstream-thread.ts', import.meta.url), { workerData: settings })
    const url = await new Promise<string>((resolve, reject) => {
      worker.once('error', reject)
      worker.once('message', (message: UpstreamMessage) => {
        if (message.type === 'ready') resolve(message.url)
      })
    })
    return new UpstreamHandle(worker, url, onTold)
  }

  /** Resolves once it is done. */
  async tell(command: Body<UpstreamCommand>): Promise<void> {
    this.#sent += 1
    const id = this.#sent
    const done = new Promise<void>((resolve) => {
      this.#waiting.set(id, resolve)
    })
    this.#worker.postMessage({ ...command, id })
    await done
    this.#waiting.delete(id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A server with TLS may not close for want of one connection's end; that ends with the thread.
    await Promise.race([this.tell({ command: 'end' }), sleep(patience)])
    await this.#worker.terminate()
  }
}
