import { Readable } from 'node:stream'

/** Bytes that may wait for a slow reader. Messages above it are dropped. */
const maxWaiting = 64 * 1024
/** Milliseconds between two comments that keep proxies from closing an idle connection. */
const heartbeat = 15_000
/** Tells the client to wait 3 s before it reconnects. */
const greeting = 'retry: 3000\n\n'

/** One client's events, as `text/event-stream` (HTML standard, server-sent events). */
export class EventStream extends Readable {
  readonly #heartbeat: NodeJS.Timeout
  #dropped = 0

  constructor() {
    super()
    this.push(greeting)
    this.#heartbeat = setInterval(() => {
      if (this.readableLength === 0) this.push(': still here\n\n')
    }, heartbeat).unref()
  }

  /** Sends a message, which includes its empty line. Never waits for the reader. */
  send(message: string): void {
    if (this.readableLength < maxWaiting) this.push(message)
    else this.#dropped += 1
  }

  /** Ends the stream after the waiting messages. */
  finish(): void {
    clearInterval(this.#heartbeat)
    this._read()
    this.push(null)
  }

  /** Tells a reader that events were dropped, so that it reads the whole state again. */
  override _read(): void {
    if (this.#dropped > 0) this.push(`event: missed\ndata: ${JSON.stringify({ events: this.#dropped })}\n\n`)
    this.#dropped = 0
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearInterval(this.#heartbeat)
    done(error)
  }
}
