import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** An answer on its way to a client: what a body is sent by. */
export interface Outgoing {
  /** What takes chunks, closes, and times out. */
  readonly stream: ServerResponse | Socket
  /** The connection; null where there is none yet, or no more. */
  readonly socket: Socket | null
  /** Whether the headers have been written. */
  readonly hasBegun: boolean
  /** So many bytes at the end have to be written; others may be moved into the connection. */
  readonly tail: number
  /** Writes the headers. */
  begin(): void
  /** All of the body was given. */
  end(): void
}

/**
 * By node:http, which has the headers, and frames the body. The response ends with the last byte, since a client that had
 * it before would leave before that end.
 */
export class ByResponse implements Outgoing {
  readonly stream: ServerResponse
  readonly tail = 1

  constructor(response: ServerResponse) {
    this.stream = response
  }

  get socket(): Socket | null {
    return this.stream.socket
  }

  get hasBegun(): boolean {
    return this.stream.headersSent
  }

  begin(): void {
    this.stream.flushHeaders()
  }

  end(): void {
    this.stream.end()
  }
}

/** By a connection alone. */
export class BySocket implements Outgoing {
  readonly stream: Socket
  readonly tail = 0
  readonly #head: string
  #hasBegun = false

  /** `head`: a character a byte. */
  constructor(socket: Socket, head: string) {
    this.stream = socket
    this.#head = head
  }

  get socket(): Socket {
    return this.stream
  }

  get hasBegun(): boolean {
    return this.#hasBegun
  }

  begin(): void {
    this.#hasBegun = true
    this.stream.write(this.#head, 'latin1')
  }

  end(): void {}
}
