import type { SqliteFile } from './sqlite-file.ts'

export interface RowMoverOptions {
  /** Rows cannot be moved now; called once until they can be again. It is tried again and again. Must not throw. */
  readonly onFailure: (error: unknown) => void
  /** Milliseconds between two steps. */
  readonly pause?: number
  /** Milliseconds until a step that failed is tried again. */
  readonly retryPause?: number
}

/** Everything else waits while they are moved: 2 to 3 ms. */
const rowsPerStep = 20

/**
 * Moves what an earlier version left in its tables, a few rows at a time, while the records are in use. Each step is a
 * transaction: a process that is killed, or a disk that is full, leaves the rest where it was, for the next step or the
 * next start.
 */
export class RowMover implements Disposable {
  readonly #file: SqliteFile
  readonly #options: Required<RowMoverOptions>
  #timer: NodeJS.Timeout | undefined
  #hasFailed = false

  constructor(file: SqliteFile, options: RowMoverOptions) {
    this.#file = file
    this.#options = { pause: 10, retryPause: 10_000, ...options }
    this.#schedule(this.#options.pause)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }

  #step(): void {
    const { pause, retryPause, onFailure } = this.#options
    try {
      if (this.#file.run((connection) => connection.moveOldRows(rowsPerStep))) this.#schedule(pause)
      this.#hasFailed = false
    } catch (error) {
      this.#schedule(retryPause)
      if (!this.#hasFailed) onFailure(error)
      this.#hasFailed = true
    }
  }

  #schedule(pause: number): void {
    this.#timer = setTimeout(() => this.#step(), pause).unref()
  }
}
