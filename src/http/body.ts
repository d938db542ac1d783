import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ServedBlob } from '../cache/blobs.ts'

type BodyReader = ServedBlob['reader']

/** The client left, or took no byte for too long. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

export interface SendOptions {
  /** Bytes to send; undefined where it is not known, and the body goes chunked. */
  readonly length: number | undefined
  /** Milliseconds a client may go without taking a byte. */
  readonly patience: number
  readonly sent: (bytes: number) => void
}

/**
 * Sends a body whose headers are set, by pulling: read, write, and read again when the kernel has taken it. So one
 * buffer serves a whole stream, and memory stays constant however slow the client is. Closes the reader.
 *
 * A body that fails, or ends short, breaks the connection: the client must see that it is not whole. By FIN and after
 * what was already written, never by RST, which containerd does not retry.
 */
export async function sendBody(response: ServerResponse, reader: BodyReader, options: SendOptions): Promise<void> {
  const outlet = new Outlet(response, reader, options.patience)
  let left = options.length ?? Number.POSITIVE_INFINITY
  try {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) {
      if (chunk.length > left) throw new RangeError('the body is longer than its length')
      await outlet.write(chunk)
      options.sent(chunk.length)
      left -= chunk.length
    }
    if (options.length !== undefined && left > 0) throw new RangeError(`the body ended ${left} bytes off its length`)
    response.end()
  } catch (error) {
    cut(response)
    throw outlet.gone ?? error
  } finally {
    outlet.close()
    await reader.close()
  }
}

/** A response without a connection waits for another one of the same client's to end. */
function cut(response: ServerResponse): void {
  if (response.socket) response.socket.destroySoon()
  else response.once('socket', (socket: Socket) => socket.destroySoon())
}

/** A response as something to write to, one chunk at a time, that says when nobody takes them any more. */
class Outlet {
  readonly #response: ServerResponse
  readonly #reader: BodyReader
  readonly #onClose: () => void
  readonly #onTimeout: () => void
  #reject: ((error: ClientGone) => void) | undefined
  #gone: ClientGone | undefined

  constructor(response: ServerResponse, reader: BodyReader, patience: number) {
    this.#response = response
    this.#reader = reader
    this.#onClose = () => this.#leave('the client left')
    this.#onTimeout = () => {
      // Without a write it is not the client that is waited for.
      if (!this.#reject) return
      this.#leave(`the client took no byte for ${patience} ms`)
      response.destroy()
    }
    // The socket's own timer: it knows whether a part of what was written has been taken.
    response.setTimeout(patience, this.#onTimeout)
    response.once('close', this.#onClose)
    if (response.destroyed) this.#leave('the client left')
  }

  /** Set once the client is gone. */
  get gone(): ClientGone | undefined {
    return this.#gone
  }

  write(chunk: Buffer): Promise<void> {
    if (this.#gone) return Promise.reject(this.#gone)
    return new Promise((resolve, reject) => {
      this.#reject = reject
      this.#response.write(chunk, (error) => {
        this.#reject = undefined
        if (error) reject(error)
        else resolve()
      })
    })
  }

  close(): void {
    this.#response.off('timeout', this.#onTimeout)
    this.#response.off('close', this.#onClose)
  }

  #leave(reason: string): void {
    if (this.#gone) return
    this.#gone = new ClientGone(reason)
    this.#reject?.(this.#gone)
    // Ends a read that waits for bytes nobody will take.
    void this.#reader.close()
  }
}
