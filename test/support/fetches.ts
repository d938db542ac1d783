import { Thread } from '../../src/threads/thread.ts'
import type { FetchAnswer } from '../../src/upstream/transfer/fetch-messages.ts'

/** One body that a thread fetched, or is fetching. */
export interface Fetch {
  /** Why nothing more came, as the thread said, or `died`; undefined before that. */
  readonly end: string | undefined
}

/** What the threads of this process fetch from here on. */
export interface Fetches extends Disposable {
  /** Bodies of blobs, in the order of their heads. */
  readonly all: readonly Fetch[]
  /** Those that have not ended. */
  readonly running: number
  /** Bytes that threads have written, as they said. */
  readonly bytes: number
  /** Has the threads of a kind, which had something to do, fail on their next message. Returns how many. */
  kill(kind: 'fetch' | 'hash'): number
  /** Forgets what was. */
  reset(): void
}

type AnyThread = Thread<{ id: number }, { id: number }>

export function watchFetches(): Fetches {
  const all: { end: string | undefined }[] = []
  const threads = { fetch: new Set<AnyThread>(), hash: new Set<AnyThread>() }
  const { post, listen } = Thread.prototype as AnyThread
  let bytes = 0

  Thread.prototype.post = function (this: AnyThread, request: { kind?: string; id: number }) {
    if (request.kind === 'get') threads.fetch.add(this)
    if (request.kind === 'open') threads.hash.add(this)
    post.call(this, request)
  } as typeof post
  Thread.prototype.listen = function (this: AnyThread, id, { answered, died }) {
    let fetch: { end: string | undefined } | undefined
    listen.call(this, id, {
      answered(answer) {
        const heard = answer as Partial<FetchAnswer>
        if (heard.kind === 'head' && (heard.status === 200 || heard.status === 206)) {
          fetch = { end: undefined }
          all.push(fetch)
        }
        if (heard.kind === 'written') bytes += heard.bytes ?? 0
        if (heard.kind === 'end' && fetch) fetch.end = heard.reason
        answered(answer)
      },
      died(error) {
        if (fetch) fetch.end = 'died'
        died(error)
      },
    })
  } as typeof listen
  return {
    all,
    get running() {
      return all.filter(({ end }) => end === undefined).length
    },
    get bytes() {
      return bytes
    },
    kill(kind) {
      const living = [...threads[kind]].filter(({ state }) => state !== 'dead')
      // No thread can read that.
      for (const thread of living) post.call(thread, null as unknown as { id: number })
      return living.length
    },
    reset() {
      all.length = 0
      bytes = 0
    },
    [Symbol.dispose]() {
      Object.assign(Thread.prototype, { post, listen })
    },
  }
}
