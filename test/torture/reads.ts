/** One client that is reading a whole blob. */
export interface Read {
  readonly digest: string
  readonly startedAt: number
  /** The first word of its `Cache-Status`. */
  readonly outcome: string | undefined
  readonly size: number
  /** The process that sends it. */
  readonly sender: number | undefined
  readonly pace: keyof typeof buffers
  /** Bytes that are still to come. */
  left: number
  /** Whether the blob was seen in the store meanwhile. */
  wasStored: boolean
}

const MiB = 1024 * 1024
/**
 * Bytes that can lie in the buffers between two processes: who has more still to get is being sent it. For a reader that
 * has always been slow the kernel keeps 4 MiB (measured), for one that was quick and is late now up to 36.
 */
const buffers = { slow: 6 * MiB, quick: 40 * MiB } as const

/** Which blobs are being read just now. */
export class Reads {
  readonly #running = new Set<Read>()

  begin(read: Pick<Read, 'digest' | 'size' | 'outcome' | 'pace' | 'sender'>): Read {
    const begun = { ...read, left: read.size, startedAt: performance.now(), wasStored: false }
    this.#running.add(begun)
    return begun
  }

  end(read: Read): void {
    this.#running.delete(read)
  }

  /** Those who are being sent a blob. */
  get underWay(): readonly Read[] {
    return [...this.#running].filter(({ left, pace }) => left > buffers[pace])
  }

  of(digest: string): readonly Read[] {
    return this.underWay.filter((read) => read.digest === digest)
  }
}
