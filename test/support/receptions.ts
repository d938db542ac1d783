import { Receiving, type SupplyEnd } from '../../src/storage/spool/receiving.ts'
import { Ring } from '../../src/storage/spool/ring.ts'
import { Thread } from '../../src/threads/thread.ts'

/** One connection that a thread was given to receive from. */
export interface Reception {
  /** Bytes that were wanted of it. */
  readonly length: number
  /** Why nothing more came; undefined before that. */
  readonly end: SupplyEnd | undefined
}

/** What the threads of this process receive from here on, and who they are. */
export interface Receptions extends Disposable {
  /** In order of their beginnings. */
  readonly all: readonly Reception[]
  /** Those that have not ended. */
  readonly running: number
  /** Bytes that threads have received, as far as they are counted. */
  readonly bytes: number
  /** Has the threads that were told of such things fail on the next one. */
  kill(kind: 'receive' | 'open'): void
  /** Forgets what was. */
  reset(): void
}

type Told = Thread<{ id: number }, { id: number }>

export function watchReceptions(): Receptions {
  const all: { length: number; end: SupplyEnd | undefined }[] = []
  const threads = new Map<string, Set<Told>>()
  const { into } = Receiving.prototype
  const { count } = Ring.prototype
  const { tell } = Thread.prototype
  let bytes = 0

  Receiving.prototype.into = function (sink, supply) {
    const received = into.call(this, sink, supply)
    if (!received) return undefined
    const reception = { length: supply.length, end: undefined as SupplyEnd | undefined }
    all.push(reception)
    void received.ended.then((end) => {
      reception.end = end
    })
    return received
  }
  Ring.prototype.count = function () {
    const counted = count.call(this)
    bytes += counted
    return counted
  }
  Thread.prototype.tell = function (request: { kind?: string; id: number }) {
    const { kind = '' } = request
    threads.set(kind, (threads.get(kind) ?? new Set<Told>()).add(this))
    tell.call(this, request)
  }
  return {
    all,
    get running() {
      return all.filter(({ end }) => end === undefined).length
    },
    get bytes() {
      return bytes
    },
    kill(kind) {
      for (const thread of threads.get(kind) ?? []) {
        // There is no such ring: the thread fails on it.
        if (thread.state !== 'dead') thread.tell({ kind, id: 2 ** 31 - 1 } as { id: number })
      }
    },
    reset() {
      all.length = 0
      bytes = 0
    },
    [Symbol.dispose]() {
      Receiving.prototype.into = into
      Ring.prototype.count = count
      Thread.prototype.tell = tell
    },
  }
}
