/** The error of a read whose reader was closed, before the read or while it waited. */
export class ReaderClosed extends Error {
  override readonly name = 'ReaderClosed'
}

/**
 * Returns a socket's current descriptor; undefined where it has none any more, or must not be written to. Call it when
 * the bytes are ready, in the same turn of the event loop: an older number may belong to another connection by now.
 */
export type SocketDescriptor = () => number | undefined

export interface Moved {
  readonly bytes: number
  /**
   * Not everything was moved: the socket takes no more now, or the body cannot be moved. Use `read` for the next bytes.
   */
  readonly full: boolean
}

/** The answer of a body that cannot be moved. */
export const nothingMoved: Moved = { bytes: 0, full: true }

/** A body that is read piece by piece, in constant memory. It has one owner, who closes it. */
export interface BodyReader {
  /**
   * The next bytes, or undefined at the clean end. The buffer is valid until the next `read` or `close`.
   * Rejects when the body fails, and with ReaderClosed when it is closed while waiting; after that every `read` does.
   */
  read(): Promise<Buffer | undefined>
  /**
   * Moves up to `max` of the next bytes into a connected, non-blocking socket, without copying them into this process.
   * Waits and rejects as `read` does. Does not report a client that has left; the next write does.
   */
  transfer(socket: SocketDescriptor, max: number): Promise<Moved>
  /**
   * Makes the socket send full segments only, so that headers and body leave together, until the returned function is
   * called. Call it before the headers, if the whole body will be moved. Undefined where the body may have to wait.
   */
  cork(socket: number): (() => void) | undefined
  /** Ends a waiting `read` and releases every handle. May be called more than once. */
  close(): Promise<void>
}
