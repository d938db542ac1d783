import { createHash } from 'node:crypto'
import { Ring } from '../../../src/storage/spool/ring.ts'
import { RingEnd } from '../../../src/storage/spool/ring-ends.ts'
import type { Memory } from '../../../src/upstream/upstream.ts'

/** What is read, and can be lent memory: one body, or one blob over several of them. */
export interface Lendable {
  receiveInto(memory: Memory): void
  read(): Promise<Buffer | undefined>
}

/** How a ring is emptied: of so much at most, every so many turns of the event loop; or wholly, when it has long been full. */
export type Pace = { readonly every: number; readonly most?: number } | 'when full'

/** A ring, and at its other end one who empties it. It counts how bytes came to it. */
export class DrainedRing extends Ring {
  /** Received where they belong, copied there, and kept elsewhere. */
  inPlace = 0
  copied = 0
  elsewhere = 0
  /** The most that was kept elsewhere at once. */
  mostElsewhere = 0
  drained = 0
  readonly #end = new RingEnd(this.memory)
  readonly #hash = createHash('sha256')
  #stillElsewhere = 0
  #isFull = false

  /** Of all that was taken out. */
  get digest(): string {
    return `sha256:${this.#hash.copy().digest('hex')}`
  }

  override keep(bytes: Buffer): Buffer {
    const kept = super.keep(bytes)
    if (kept === bytes) this.inPlace += bytes.length
    else if (kept.buffer === this.memory.bytes) this.copied += bytes.length
    else {
      this.elsewhere += bytes.length
      this.#stillElsewhere += bytes.length
      this.mostElsewhere = Math.max(this.mostElsewhere, this.#stillElsewhere)
    }
    return kept
  }

  override put(bytes: Buffer): number {
    const put = super.put(bytes)
    if (bytes.buffer !== this.memory.bytes) this.#stillElsewhere = Math.max(0, this.#stillElsewhere - put)
    return put
  }

  override restart(): void {
    super.restart()
    this.#stillElsewhere = 0
  }

  /** Takes out what there is, at most so much. */
  empty(most = Number.POSITIVE_INFINITY): void {
    for (let left = most; left > 0; ) {
      const bytes = this.#end.next().subarray(0, left)
      if (bytes.length === 0) return
      this.#hash.update(bytes)
      this.#end.take(bytes.length)
      this.drained += bytes.length
      left -= bytes.length
    }
  }

  /** Puts a chunk in, as the writer of a spool does; resolves when there is room for more. */
  async pass(chunk: Buffer): Promise<void> {
    let rest = chunk
    for (;;) {
      if (rest.length > 0) rest = rest.subarray(this.put(rest))
      if (rest.length === 0 && (this.hasRoom || this.#stillElsewhere > 0)) return
      this.#isFull = true
      await turns(1)
    }
  }

  /** Puts in all that comes, until the end. */
  async takeFrom(source: Lendable, pace: Pace): Promise<void> {
    await this.drainDuring(pace, async () => {
      source.receiveInto(this)
      for (let chunk = await source.read(); chunk; chunk = await source.read()) {
        await this.pass(chunk)
        source.receiveInto(this)
      }
    })
  }

  async drainDuring(pace: Pace, work: () => Promise<void>): Promise<void> {
    const done = new AbortController()
    const draining = this.#drain(pace, done.signal)
    try {
      await work()
    } finally {
      done.abort()
      await draining
      this.empty()
    }
  }

  async #drain(pace: Pace, done: AbortSignal): Promise<void> {
    for (let turn = 1; !done.aborted; turn += 1) {
      await turns(1)
      if (pace !== 'when full') {
        if (turn % pace.every === 0) this.empty(pace.most)
      } else if (this.#isFull) {
        await turns(30)
        this.#isFull = false
        this.empty()
      }
    }
  }
}

export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}
