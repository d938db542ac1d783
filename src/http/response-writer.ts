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
export function httpWriter(response: ServerResponse): ResponseWriter {
  return {
    stream: response,
    tail: 1,
    get socket() {
      return response.socket
    },
    get hasBegun() {
      return response.headersSent
    },
    begin: () => response.flushHeaders(),
    end: () => void response.end(),
  }
}

/** Writes to a connection. `head`: one character a byte. */
export function socketWriter(socket: Socket, head: string): ResponseWriter {
  let hasBegun = false
  return {
    stream: socket,
    tail: 0,
    socket,
    get hasBegun() {
      return hasBegun
    },
    begin() {
      hasBegun = true
      socket.write(head, 'latin1')
    },
    end() {},
  }
}
