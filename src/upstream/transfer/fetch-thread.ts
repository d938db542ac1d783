import { flushCompileCache } from 'node:module'
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { Dispatcher } from 'undici'
import { createDispatcher, type DispatcherOptions } from './dispatcher.ts'
import type { FetchRequest } from './fetch-messages.ts'
import { Transfer } from './transfer.ts'

/** The other side of `FetchPool`: a thread with connections of its own, which may wait for the disk. */

/** Milliseconds. Part pieces wait so long for their rest, and the event loop for news. */
const tick = 10

class Fetcher {
  readonly #port: MessagePort
  readonly #transfers = new Map<number, Transfer>()
  /** By their options. */
  readonly #dispatchers = new Map<string, Dispatcher>()
  #ticking: NodeJS.Timeout | undefined

  constructor(port: MessagePort) {
    this.#port = port
  }

  take(request: FetchRequest): void {
    if (request.kind === 'get') this.#get(request)
    else this.#transfers.get(request.id)?.take(request)
  }

  #get(request: FetchRequest & { kind: 'get' }): void {
    const { id, origin, path, headers, dispatcher } = request
    const transfer = new Transfer((answer) => {
      if (answer.kind === 'end') this.#transfers.delete(id)
      this.#port.postMessage({ ...answer, id })
    })
    this.#transfers.set(id, transfer)
    this.#ticking ??= setInterval(() => this.#tick(), tick)
    this.#dispatcher(dispatcher).dispatch({ origin, path, headers, method: 'GET' }, transfer)
  }

  #dispatcher(options: DispatcherOptions): Dispatcher {
    const key = JSON.stringify(options)
    const dispatcher = this.#dispatchers.get(key) ?? createDispatcher(options)
    this.#dispatchers.set(key, dispatcher)
    return dispatcher
  }

  #tick(): void {
    for (const transfer of this.#transfers.values()) transfer.tick()
    if (this.#transfers.size > 0) return
    clearInterval(this.#ticking)
    this.#ticking = undefined
  }
}

if (parentPort) {
  const port = parentPort
  const fetcher = new Fetcher(port)
  port.on('message', (request: FetchRequest) => fetcher.take(request))
  port.postMessage({ id: 0 })
  flushCompileCache()
}
