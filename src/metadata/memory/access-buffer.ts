import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import type { Access, AccessLog, Usage } from '../access-log.ts'
import { AccessBatch, type AccessBatchOptions } from './access-batch.ts'

export interface AccessBufferOptions {
  /** Writing failed; it is tried again. Must not throw. */
  readonly onFailure: (error: unknown) => void
  readonly batch?: Pick<AccessBatchOptions, 'delay' | 'fullSize' | 'maxWaiting'>
  /** Milliseconds before an access is written whose digest has been recorded before. */
  readonly repeatDelay?: number
}

/** Accesses added before one flush by `recordAccesses`: all of a large store at once would exceed the batch's bound. */
const chunk = 1000
const maxRecorded = 16_384

/**
 * Memory in front of an `AccessLog`. Accesses wait here and are written in batches; before anything is read or
 * forgotten, all that wait are written.
 *
 * There are two batches. The first access to a blob is written within a second: it is how the blob comes to be counted,
 * and a killed process should lose little of that. A repeated access only renews a time that eviction looks at, and
 * costs SQLite a page or two. It waits a minute, so that a blob in constant use is written once a minute and not once a
 * second: with 100,000 blobs in use (the benchmark's `stores`), recording is half of the work of a hit.
 */
export class AccessBuffer implements AccessLog {
  readonly #log: AccessLog
  readonly #firsts: AccessBatch
  readonly #repeats: AccessBatch
  /** Sizes of digests that are known to be recorded, as they were recorded. */
  readonly #recorded = new LRUCache<Digest, number>({ max: maxRecorded })

  constructor(log: AccessLog, { onFailure, batch = {}, repeatDelay = 60_000 }: AccessBufferOptions) {
    this.#log = log
    const options = { ...batch, onFailure, write: (accesses: readonly Access[]) => this.#write(accesses) }
    this.#firsts = new AccessBatch(options)
    this.#repeats = new AccessBatch({ ...options, delay: repeatDelay, fullSize: maxRecorded })
  }

  /** Never waits and never throws. */
  touch(digest: Digest, size: number, at: number): void {
    const batch = this.#recorded.get(digest) === size ? this.#repeats : this.#firsts
    batch.add({ digest, size, at })
  }

  async recordAccesses(accesses: readonly Access[]): Promise<void> {
    for (let start = 0; start < accesses.length; start += chunk) {
      for (const access of accesses.slice(start, start + chunk)) this.#firsts.add(access)
      await this.#firsts.flush()
    }
  }

  async forgetAccess(digest: Digest, at: number): Promise<boolean> {
    await this.#flush()
    // Still waiting where it could not be written.
    if ((this.#latest(digest) ?? at) > at) return false
    if (!(await this.#log.forgetAccess(digest, at))) return false
    this.#recorded.delete(digest)
    // An access that came meanwhile records the blob again when it is written.
    this.#firsts.withdraw(digest, at)
    this.#repeats.withdraw(digest, at)
    return this.#latest(digest) === undefined
  }

  async usage(): Promise<Usage> {
    await this.#flush()
    return this.#log.usage()
  }

  /** Writes everything that waits. */
  async close(): Promise<void> {
    await Promise.all([this.#firsts.close(), this.#repeats.close()])
  }

  async #write(accesses: readonly Access[]): Promise<void> {
    await this.#log.recordAccesses(accesses)
    for (const { digest, size } of accesses) this.#recorded.set(digest, size)
  }

  async #flush(): Promise<void> {
    await Promise.all([this.#firsts.flush(), this.#repeats.flush()])
  }

  /** The time of the latest access that waits for this digest. */
  #latest(digest: Digest): number | undefined {
    const [first, repeat] = [this.#firsts.latest(digest), this.#repeats.latest(digest)]
    return first === undefined || repeat === undefined ? (first ?? repeat) : Math.max(first, repeat)
  }
}
