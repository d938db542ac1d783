/** One client that is reading a blob. */
export interface Read {
  readonly digest: string
  readonly startedAt: number
  /** Bytes that are still to come. */
  left: number
}

/** Which blobs are being read just now, and were when. */
export class Reads {
  readonly #running = new Set<Read>()

  begin(digest: string, size: number): Read {
    const read = { digest, startedAt: performance.now(), left: size }
    this.#running.add(read)
    return read
  }

  end(read: Read): void {
    this.#running.delete(read)
  }

  /** Whether somebody has been reading it since before `at`, and has more than `left` bytes still to come. */
  isRead(digest: string, at: number, left: number): boolean {
    return [...this.#running].some((read) => read.digest === digest && read.startedAt < at && read.left > left)
  }
}
