/** A read of a reader that was closed, before or while it waited. */
export class ReaderClosed extends Error {
  override readonly name = 'ReaderClosed'
}

/**
 * A socket's descriptor at this moment; undefined where it has none any more, or must not be written to. Asked when the
 * bytes are there, in the same turn as the call: a number that was asked for before may be another connection's by now.
 */
export type SocketDescriptor = () => number | undefined

export interface Moved {
  readonly bytes: number
  /** There was more than was moved: the socket takes no more now, or the body cannot be moved. What comes next is for `read`. */
  readonly full: boolean
}

/** What a body says that cannot be moved. */
export const nothingMoved: Moved = { bytes: 0, full: true }

/** A body that is read by pulling. Constant memory; one owner, who closes it. */
export interface BodyReader {
  /**
   * The next bytes, or undefined at the clean end. The buffer is valid until the next `read` or `close`.
   * Rejects when the body fails, and with ReaderClosed when it is closed while waiting; after that every `read` does.
   */
  read(): Promise<Buffer | undefined>
  /**
   * Moves up to `most` of the next bytes into a connected, non-blocking socket, without passing them through this process.
   * Waits and rejects as `read` does. A client that has left shows at the next write.
   */
  transfer(socket: SocketDescriptor, most: number): Promise<Moved>
  /**
   * Before anything is written to a socket that all of it will be moved into: has whole segments only leave it, headers
   * and body in one, until what it returns is called. Undefined where that is of no use: something may be waited for.
   */
  cork(socket: number): (() => void) | undefined
  /** Idempotent. Ends a waiting `read`, releases every handle. */
  close(): Promise<void>
}
