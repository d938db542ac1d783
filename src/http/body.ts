import type { Socket } from 'node:net'
import type { StreamedBody } from './answers.ts'
import type { ResponseWriter } from './response-writer.ts'
import { descriptorOf } from './socket-descriptor.ts'

type BodyReader = StreamedBody['reader']
type Moved = Awaited<ReturnType<BodyReader['transfer']>>

/** The client left, or took no byte for too long. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

export interface SendOptions {
  /** Bytes to send; undefined where nobody knows, and then the body is sent in chunks. */
  readonly length: number | undefined
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
  /** Its `bytes` count what was handed to the connection. */
  readonly tally: { bytes: number }
}

/**
 * Sends the head and the body of an answer. First the kernel moves bytes from the file into the connection, until that is
 * full. Then one chunk is read and written, and the next round begins when the kernel has taken it. So memory stays
 * constant, however slow the client is. Closes the reader.
 *
 * Where the body fails or ends short, the connection is cut, so that the client sees that it is not whole: by FIN, after
 * all that was written. Never by RST, which containerd does not retry.
 */
export async function sendBody(writer: ResponseWriter, reader: BodyReader, options: SendOptions): Promise<void> {
  const outlet = new Outlet(writer, reader, options.clientTimeout)
  let left = options.length ?? Number.POSITIVE_INFINITY
  try {
    outlet.open()
    for (;;) {
      const moved = await move(reader, outlet, left - writer.tail)
      options.tally.bytes += moved.bytes
      left -= moved.bytes
      // The client has all of it, and may have left by now.
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
    cut(writer)
    throw outlet.gone ?? error
  } finally {
    outlet.close()
    await reader.close()
  }
}

const nothingMoved: Moved = { bytes: 0, full: true }

/** A body in chunks is not moved: it needs its framing. */
async function move(reader: BodyReader, outlet: Outlet, most: number): Promise<Moved> {
  if (most <= 0 || most === Number.POSITIVE_INFINITY || outlet.descriptor() === undefined) return nothingMoved
  return await reader.transfer(outlet.descriptor, most)
}

/** A response without a connection waits for the end of an earlier response to the same client. */
function cut({ socket, stream }: ResponseWriter): void {
  if (socket) socket.destroySoon()
  else stream.once('socket', (late: Socket) => late.destroySoon())
}

/** Takes one chunk at a time, and rejects it when the client has left or has taken nothing for too long. */
class Outlet {
  readonly #writer: ResponseWriter
  readonly #reader: BodyReader
  readonly #onClose: () => void
  readonly #onTimeout: () => void
  #reject: ((error: ClientGone) => void) | undefined
  #gone: ClientGone | undefined
  #uncork: (() => void) | undefined

  constructor(writer: ResponseWriter, reader: BodyReader, clientTimeout: number) {
    const { stream } = writer
    this.#writer = writer
    this.#reader = reader
    this.#onClose = () => this.#leave('the client left')
    this.#onTimeout = () => {
      // Without a write under way, nobody waits for the client.
      if (!this.#reject) return
      this.#leave(`the client took no byte for ${clientTimeout} ms`)
      stream.destroy()
    }
    // The socket's timer starts again when the kernel has taken a part of a write.
    stream.on('timeout', this.#onTimeout).setTimeout(clientTimeout)
    stream.once('close', this.#onClose)
    if (stream.destroyed) this.#leave('the client left')
  }

  /** Set once the client is gone. */
  get gone(): ClientGone | undefined {
    return this.#gone
  }

  /** The connection's, once the kernel has taken all that was written: the head comes first. */
  readonly descriptor = (): number | undefined => {
    const { socket, hasBegun } = this.#writer
    return hasBegun && socket?.writableLength === 0 ? this.#connection() : undefined
  }

  /** Sends the head, in one segment with the body's beginning where all of the body can be moved. */
  open(): void {
    const connection = this.#connection()
    if (connection !== undefined) this.#uncork = this.#reader.cork(connection)
    this.#writer.begin()
  }

  /** Call it when all is written or moved. */
  end(): void {
    if (this.#connection() !== undefined) this.#uncork?.()
    this.#writer.end()
  }

  write(chunk: Buffer): Promise<void> {
    if (this.#gone) return Promise.reject(this.#gone)
    return new Promise((resolve, reject) => {
      this.#reject = reject
      this.#writer.stream.write(chunk, (error) => {
        // A write fails when the client has left.
        if (error) this.#leave('the client left')
        this.#reject = undefined
        resolve()
      })
    })
  }

  close(): void {
    this.#writer.stream.off('timeout', this.#onTimeout).off('close', this.#onClose)
  }

  #connection(): number | undefined {
    return this.#gone ? undefined : descriptorOf(this.#writer.socket)
  }

  #leave(reason: string): void {
    if (this.#gone) return
    this.#gone = new ClientGone(reason)
    this.#reject?.(this.#gone)
    // Ends a read that still waits.
    void this.#reader.close()
  }
}
