import type { Output } from './output.ts'

export interface LineBufferOptions {
  readonly output: Output
  /** Bytes that may wait, those on their way included; lines beyond are dropped and counted. */
  readonly bound?: number
  /** Milliseconds a line waits at most for company. */
  readonly patience?: number
}

/** From this many bytes on, lines do not wait for company. */
const batch = 64 * 1024

/** Gathers lines and writes them in batches, one at a time, in bounded memory, whatever the output does. */
export class LineBuffer {
  readonly #output: Output
  readonly #bound: number
  readonly #patience: number
  #lines: string[] = []
  #waiting = 0
  #buffered = 0
  #dropped = 0
  #draining: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor({ output, bound = 1024 * 1024, patience = 100 }: LineBufferOptions) {
    this.#output = output
    this.#bound = bound
    this.#patience = patience
  }

  /** Lines lost since the start: beyond the bound, or refused by the output. */
  get dropped(): number {
    return this.#dropped
  }

  /** Bytes held. */
  get buffered(): number {
    return this.#buffered
  }

  /** `size` in bytes. */
  write(line: string, size: number = Buffer.byteLength(line)): void {
    if (this.#buffered + size > this.#bound) {
      this.#dropped += 1
      return
    }
    this.#lines.push(line)
    this.#waiting += size
    this.#buffered += size
    if (this.#waiting >= batch) this.#start()
    else if (!this.#draining) this.#timer ??= setTimeout(() => this.#start(), this.#patience).unref()
  }

  /** Resolves when every line is out or lost, or after `limit` milliseconds. */
  async flush(limit: number): Promise<void> {
    this.#start()
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, limit)
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
    // In the same turn as the last look: a line that comes later must find nobody draining.
    this.#draining = undefined
  }
}
