import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Where a body is written to, after the head of its answer. */
export interface ResponseWriter {
  /** Takes chunks; emits `close` and `timeout`. */
  readonly stream: ServerResponse | Socket
  /** The connection; null before it has one, and after it was closed. */
  readonly socket: Socket | null
  /** Whether the head has been written. */
  readonly hasBegun: boolean
  /** The last bytes of the body, so many, must be written. All others may be moved into the socket by the kernel. */
  readonly tail: number
  /** Writes the head. */
  begin(): void
  /** Call it when all of the body was written or moved. */
  end(): void
}

/**
 * Writes by node:http, which has the head and frames the body. The last byte is written together with the response's end.
 * If it left before, the client could close the connection first, and be logged as one that left.
 */
export class HttpWriter implements ResponseWriter {
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

/** Writes to a connection. */
export class SocketWriter implements ResponseWriter {
  readonly stream: Socket
  readonly tail = 0
  readonly #head: string
  #hasBegun = false

  /** `head`: one character a byte. */
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
