import { Readable } from 'node:stream'

/** Messages that wait for a reader who does not keep up; what comes then is left out. */
const mostWaiting = 256
/** Milliseconds between two signs of life: less than proxies wait for one. */
const heartbeat = 15_000
/** How long a client should wait, in milliseconds, before it comes again. */
const greeting = 'retry: 3000\n\n'

/** One client's events, as `text/event-stream` (HTML standard, server-sent events). */
export class EventStream extends Readable {
  readonly #waiting: string[] = []
  readonly #pulse: NodeJS.Timeout
  #wanted = false
  #missed = 0

  constructor() {
    super()
    this.push(greeting)
    this.#pulse = setInterval(() => {
      if (this.#wanted) this.send(': still here\n\n')
    }, heartbeat).unref()
  }

  /** A whole message, its empty line included. Never waits for the reader. */
  send(message: string): void {
    if (this.#wanted) this.#wanted = this.push(message)
    else if (this.#waiting.length < mostWaiting) this.#waiting.push(message)
    else this.#missed += 1
  }

  /** The end, once the reader has what waits. */
  finish(): void {
    clearInterval(this.#pulse)
    for (const message of this.#waiting.splice(0)) this.push(message)
    this.push(null)
  }

  override _read(): void {
    this.#wanted = true
    while (this.#wanted) {
      const message = this.#waiting.shift() ?? this.#apology()
      if (message === undefined) return
      this.#wanted = this.push(message)
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearInterval(this.#pulse)
    done(error)
  }

  /** Whoever missed something should look at the whole once more. */
  #apology(): string | undefined {
    if (this.#missed === 0) return undefined
    const missed = this.#missed
    this.#missed = 0
    return `event: missed\ndata: ${JSON.stringify({ events: missed })}\n\n`
  }
}
