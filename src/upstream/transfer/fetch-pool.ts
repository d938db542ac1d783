import { ThreadPool } from '../../threads/pool.ts'
import { Thread, type ThreadDied } from '../../threads/thread.ts'
import type { FetchRequest, FetchThread } from './fetch-messages.ts'
import { FetchedBody, type FetchedBodyOptions } from './fetched-body.ts'
import type { Response } from './response.ts'

/** What a `get` needs that the pool does not add. */
export type FetchOptions = Pick<FetchRequest & { kind: 'get' }, 'origin' | 'path' | 'headers' | 'dispatcher'> &
  Omit<FetchedBodyOptions, 'thread' | 'id'>

/**
 * Threads that fetch large bodies, many at once each, and write them as they come: TLS, the parser and the wait for the
 * disk are theirs, and the event loop hears how many bytes there are.
 */
export class FetchPool extends ThreadPool<FetchThread> {
  #lastId = 0

  constructor(onDeath?: (error: ThreadDied) => void) {
    super({
      start: (died) => new Thread({ name: 'fetch-thread', beside: import.meta.url, onDeath: died }),
      onDeath,
    })
  }

  /** Sends a GET. Undefined where no thread runs, or none yet: nobody waits for one. Rejects as `FetchedBody.response` does. */
  async get({ signal, failureOf, ...request }: FetchOptions): Promise<Response<FetchedBody> | undefined> {
    const thread = this.leastBusy()
    if (!thread) return undefined
    this.#lastId += 1
    const id = this.#lastId
    const body = new FetchedBody({ signal, failureOf, thread, id })
    thread.post({ ...request, kind: 'get', id })
    return await body.response
  }
}
