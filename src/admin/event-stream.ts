import { Readable } from 'node:stream'

/** Messages that may wait for a slow reader. Later ones are dropped. */
const maxWaiting = 256
/** Milliseconds between two comments that keep proxies from closing an idle connection. */
const heartbeat = 15_000
/** Tells the client to wait 3 s before it reconnects. */
const greeting = 'retry: 3000\n\n'

/** One client's events, as `text/event-stream` (HTML standard, server-sent events). */
export class EventStream extends Readable {
  readonly #waiting: string[] = []
  readonly #heartbeat: NodeJS.Timeout
  #wanted = false
  #dropped = 0

  constructor() {
    super()
    this.push(greeting)
    this.#heartbeat = setInterval(() => {
      if (this.#wanted) this.send(': still here\n\n')
    }, heartbeat).unref()
  }

  /** Sends a message, which includes its empty line. Never waits for the reader. */
  send(message: string): void {
    if (this.#wanted) this.#wanted = this.push(message)
    else if (this.#waiting.length < maxWaiting) this.#waiting.push(message)
    else this.#dropped += 1
  }

  /** Ends the stream after the waiting messages. */
  finish(): void {
    clearInterval(this.#heartbeat)
    for (const message of this.#waiting.splice(0)) this.push(message)
    this.push(null)
  }

  override _read(): void {
    this.#wanted = true
    while (this.#wanted) {
      const message = this.#waiting.shift() ?? this.#dropNotice()
      if (message === undefined) return
      this.#wanted = this.push(message)
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearInterval(this.#heartbeat)
    done(error)
  }

  /** Tells a reader that events were dropped, so that it reads the whole state again. */
  #dropNotice(): string | undefined {
    if (this.#dropped === 0) return undefined
    const events = this.#dropped
    this.#dropped = 0
    return `event: missed\ndata: ${JSON.stringify({ events })}\n\n`
  }
}
