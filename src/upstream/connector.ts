import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import { buildConnector } from 'undici'

/** Bytes taken from the kernel at once. */
export const receiveSize = 128 * 1024

/**
 * Makes the connections of an upstream. All of them receive into one buffer, where a socket left to itself allocates 64 KiB
 * for every read: of a large body that is a full garbage collection every 30 MB.
 *
 * So what a response's handler is given is valid until it returns, and no longer. The head of an answer is copied, since a
 * parser keeps parts of it; that it is over shows when the handler pauses, as it should before a large body.
 */
export function createConnector({ timeout }: { timeout: number }): buildConnector.connector {
  const buffer = Buffer.allocUnsafeSlow(receiveSize)
  // undici keeps them for each connector, and here every connection has one of its own.
  const sessions = new LRUCache<string, Buffer>({ max: 100 })
  return (target, callback) => {
    const inlet = new Inlet()
    const server = target.servername || target.hostname
    const session = sessions.get(server)
    const connect = buildConnector({
      allowH2: false,
      timeout,
      ...(session && { session }),
      onread: { buffer, callback: (length) => inlet.receive(buffer.subarray(0, length)) },
    })
    connect(target, (...[error, socket]) => {
      if (error) return callback(error, null)
      inlet.attach(socket)
      socket.on('session', (fresh: Buffer) => sessions.set(server, fresh))
      callback(null, socket)
    })
  }
}

/** Between a socket that is given its bytes and a parser that takes them by `read`, and now and then has enough. */
class Inlet {
  #socket: Socket | undefined
  #left: Buffer | undefined
  #paused = false
  #ended = false
  /** What had been sent when the last answer began. */
  #sent: number | undefined
  #inHead = true

  attach(socket: Socket): void {
    this.#socket = socket
    const read = socket.read.bind(socket)
    const push = socket.push.bind(socket)
    socket.read = (size?: number): Buffer | null => {
      if (size === 0) return read(0)
      const bytes = this.#left
      this.#left = undefined
      this.#paused = false
      if (bytes) return bytes
      if (this.#ended) push(null)
      // Goes on receiving where that was paused, and tells of the end.
      read(0)
      return null
    }
    // The end waits for what came before it: TLS tells of both, though reception is paused.
    socket.push = (bytes: unknown): boolean => {
      this.#ended = bytes === null
      return this.#ended && (this.#paused || this.#left !== undefined) ? false : push(bytes)
    }
    // How a parser says that it pauses, with what it has not used of the chunk. It never does so within a head.
    socket.unshift = (bytes: Buffer): void => {
      if (bytes.length > 0) this.#left = bytes
      this.#paused = true
      this.#inHead = false
    }
  }

  /** Whether to go on receiving. Called all the same, by TLS: what it has deciphered it hands over. */
  receive(bytes: Buffer): boolean {
    const sent = this.#socket?.bytesWritten
    if (sent !== this.#sent) this.#inHead = true
    this.#sent = sent
    // A parser keeps parts of a head until it has the whole.
    const lasting = this.#inHead ? Buffer.from(bytes) : bytes
    this.#left = this.#left ? Buffer.concat([this.#left, lasting]) : lasting
    this.#socket?.emit('readable')
    if (this.#left?.buffer === bytes.buffer) this.#left = Buffer.from(this.#left)
    return !this.#paused && !this.#left
  }
}
