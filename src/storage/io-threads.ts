import type { ThreadDied } from '../threads/thread.ts'
import { PageCache } from './page-cache.ts'
import { SendfilePool } from './sendfile/sendfile-pool.ts'
import { HashPool } from './spool/hash-pool.ts'

/** What is done to files off the event loop. */
export class IoThreads implements AsyncDisposable {
  readonly hashing: HashPool
  /** Undefined where the system has it not. */
  readonly sending: SendfilePool | undefined
  /** Needs no thread. Undefined where the system does not have it. */
  readonly pageCache: PageCache | undefined

  /** If a thread dies, other threads or the event loop do its work. */
  constructor(onDeath?: (error: ThreadDied) => void) {
    this.hashing = new HashPool(onDeath)
    this.sending = SendfilePool.load({ onDeath })
    this.pageCache = PageCache.load()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hashing[Symbol.asyncDispose]()
    await this.sending?.[Symbol.asyncDispose]()
  }
}
