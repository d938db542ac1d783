import type { Output } from './output.ts'

export interface LineBufferOptions {
  readonly output: Output
  /** Bytes that may wait, including those being written. Lines above it are dropped and counted. */
  readonly maxBytes?: number
  /** Milliseconds a line may wait for others before it is written. */
  readonly maxDelay?: number
}

/** With this many bytes waiting, lines are written at once. */
const batchBytes = 64 * 1024

/**
 * Writes lines in batches, one batch at a time, in bounded memory: lines that a slow output cannot take are dropped and
 * counted. pino's destination (sonic-boom) drops above a bound too, but it writes to pipes through the thread pool, which
 * keeps the process from ending (see `standardOutput`).
 */
export class LineBuffer {
  readonly #output: Output
  readonly #maxBytes: number
  readonly #maxDelay: number
  #lines: string[] = []
  #waiting = 0
  #buffered = 0
  #dropped = 0
  #draining: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor({ output, maxBytes = 1024 * 1024, maxDelay = 100 }: LineBufferOptions) {
    this.#output = output
    this.#maxBytes = maxBytes
    this.#maxDelay = maxDelay
  }

  /** Lines lost since the start, because of the bound or because the output failed. */
  get dropped(): number {
    return this.#dropped
  }

  /** `size`: the bytes of the line. */
  write(line: string, size: number = Buffer.byteLength(line)): void {
    if (this.#buffered + size > this.#maxBytes) {
      this.#dropped += 1
      return
    }
    this.#lines.push(line)
    this.#waiting += size
    this.#buffered += size
    if (this.#waiting >= batchBytes) this.#start()
    else if (!this.#draining) this.#timer ??= setTimeout(() => this.#start(), this.#maxDelay).unref()
  }

  /** Resolves when every line is written or lost, or after `timeout` milliseconds. */
  async flush(timeout: number): Promise<void> {
    this.#start()
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeout)
    await Promise.race([this.#draining, late])
    clearTimeout(timer)
  }

  #start(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#lines.length > 0) this.#draining ??= this.#drain()
  }

  async #drain(): Promise<void> {
    while (this.#lines.length > 0) {
      const lines = this.#lines
      const size = this.#waiting
      this.#lines = []
      this.#waiting = 0
      try {
        await this.#output(lines.join(''))
      } catch {
        this.#dropped += lines.length
      }
      this.#buffered -= size
    }
    // In the same turn as the last check: a line that comes later has to start a new drain.
    this.#draining = undefined
  }
}
