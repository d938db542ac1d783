import type { Socket } from 'node:net'
import type { ServedBlob } from '../cache/blobs.ts'
import type { Outgoing } from './response-writer.ts'

type BodyReader = ServedBlob['reader']
type Moved = Awaited<ReturnType<BodyReader['transfer']>>

/** The client left, or took no byte for too long. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

export interface SendOptions {
  /** Bytes to send; undefined where it is not known, and the body goes chunked. */
  readonly length: number | undefined
  /** Milliseconds a client may go without taking a byte. */
  readonly patience: number
  /** Its `bytes` grow by those of the body that were handed to the connection. */
  readonly tally: { bytes: number }
}

/**
 * Sends headers that are set, and a body by pulling: what can be moved from the disk into the connection is moved, until
 * that is full; then read, write, and when the kernel has taken it, on. So one buffer serves a whole stream, and memory
 * stays constant however slow the client is. Closes the reader.
 *
 * A body that fails, or ends short, breaks the connection: the client must see that it is not whole. By FIN and after
 * what was already written, never by RST, which containerd does not retry.
 */
export async function sendBody(outgoing: Outgoing, reader: BodyReader, options: SendOptions): Promise<void> {
  const outlet = new Outlet(outgoing, reader, options.patience)
  let left = options.length ?? Number.POSITIVE_INFINITY
  try {
    outlet.open()
    for (;;) {
      const moved = await move(reader, outlet, left - outgoing.tail)
      options.tally.bytes += moved.bytes
      left -= moved.bytes
      // With all of it the client may have left by now.
      if (left === 0 && moved.bytes > 0) break
      if (!moved.full) continue
      const chunk = await reader.read()
      if (!chunk) break
      if (chunk.length > left) throw new RangeError('the body is longer than its length')
      await outlet.write(chunk)
      options.tally.bytes += chunk.length
      left -= chunk.length
    }
    if (options.length !== undefined && left > 0) throw new RangeError(`the body ended ${left} bytes off its length`)
    outlet.end()
  } catch (error) {
    cut(outgoing)
    throw outlet.gone ?? error
  } finally {
    outlet.close()
    await reader.close()
  }
}

const nothingMoved: Moved = { bytes: 0, full: true }

/** Not in chunks: they need their framing. */
async function move(reader: BodyReader, outlet: Outlet, most: number): Promise<Moved> {
  if (most <= 0 || most === Number.POSITIVE_INFINITY || outlet.descriptor() === undefined) return nothingMoved
  return await reader.transfer(outlet.descriptor, most)
}

/** A response without a connection waits for another one of the same client's to end. */
function cut({ socket, stream }: Outgoing): void {
  if (socket) socket.destroySoon()
  else stream.once('socket', (late: Socket) => late.destroySoon())
}

/** An answer as something to write to, one chunk at a time, that says when nobody takes them any more. */
class Outlet {
  readonly #outgoing: Outgoing
  readonly #reader: BodyReader
  readonly #onClose: () => void
  readonly #onTimeout: () => void
  #reject: ((error: ClientGone) => void) | undefined
  #gone: ClientGone | undefined
  #uncork: (() => void) | undefined

  constructor(outgoing: Outgoing, reader: BodyReader, patience: number) {
    const { stream } = outgoing
    this.#outgoing = outgoing
    this.#reader = reader
    this.#onClose = () => this.#leave('the client left')
    this.#onTimeout = () => {
      // Without a write it is not the client that is waited for.
      if (!this.#reject) return
      this.#leave(`the client took no byte for ${patience} ms`)
      stream.destroy()
    }
    // The socket's own timer: it knows whether a part of what was written has been taken.
    stream.on('timeout', this.#onTimeout).setTimeout(patience)
    stream.once('close', this.#onClose)
    if (stream.destroyed) this.#leave('the client left')
  }

  /** Set once the client is gone. */
  get gone(): ClientGone | undefined {
    return this.#gone
  }

  /** Of the connection, where all that was written before has left: headers first. */
  readonly descriptor = (): number | undefined => {
    const { socket, hasBegun } = this.#outgoing
    return hasBegun && socket?.writableLength === 0 ? this.#connection() : undefined
  }

  /** Sends the headers: as one with what comes after them, where all of it is at hand. */
  open(): void {
    const connection = this.#connection()
    if (connection !== undefined) this.#uncork = this.#reader.cork(connection)
    this.#outgoing.begin()
  }

  /** All is written, or moved. */
  end(): void {
    if (this.#connection() !== undefined) this.#uncork?.()
    this.#outgoing.end()
  }

  write(chunk: Buffer): Promise<void> {
    if (this.#gone) return Promise.reject(this.#gone)
    return new Promise((resolve, reject) => {
      this.#reject = reject
      this.#outgoing.stream.write(chunk, (error) => {
        // A connection that takes no more is one that its client has left.
        if (error) this.#leave('the client left')
        this.#reject = undefined
        resolve()
      })
    })
  }

  close(): void {
    this.#outgoing.stream.off('timeout', this.#onTimeout).off('close', this.#onClose)
  }

  #connection(): number | undefined {
    const { socket } = this.#outgoing
    if (this.#gone || !socket || socket.destroyed) return undefined
    // Node.js has no public way to it; without one everything is written. Null from the moment it is destroyed.
    const { fd } = (socket as Socket & { _handle?: { fd?: unknown } })._handle ?? {}
    return typeof fd === 'number' && fd >= 0 ? fd : undefined
  }

  #leave(reason: string): void {
    if (this.#gone) return
    this.#gone = new ClientGone(reason)
    this.#reject?.(this.#gone)
    // Ends a read that waits for bytes nobody will take.
    void this.#reader.close()
  }
}
