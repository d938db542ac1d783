/** One client that is reading a whole blob. */
export interface Read {
  readonly digest: string
  readonly startedAt: number
  /** The first word of its `Cache-Status`. */
  readonly outcome: string | undefined
  /** Bytes that are still to come. */
  left: number
  /** Whether the blob was seen in the store meanwhile. */
  wasStored: boolean
}

/** More of a blob than lies in buffers: who has so much still to get is being sent it. */
const beyondBuffers = 16 * 1024 * 1024

/** Which blobs are being read just now. */
export class Reads {
  readonly #running = new Set<Read>()

  begin(digest: string, size: number, outcome: string | undefined): Read {
    const read = { digest, startedAt: performance.now(), outcome, left: size, wasStored: false }
    this.#running.add(read)
    return read
  }

  end(read: Read): void {
    this.#running.delete(read)
  }

  /** Those who are being sent a blob. */
  get underWay(): readonly Read[] {
    return [...this.#running].filter(({ left }) => left > beyondBuffers)
  }

  of(digest: string): readonly Read[] {
    return this.underWay.filter((read) => read.digest === digest)
  }
}
