import type { Socket } from 'node:net'
import { type FileResponse, maxHead, type ResponseCache } from './response-cache.ts'

export interface FastPathOptions {
  readonly responses: Pick<ResponseCache, 'lookUp'>
  /** Takes a connection for good, as if it were new. What was read of it is pushed back and read again. */
  readonly handOver: (socket: Socket) => void
  /** Milliseconds a connection may be without its first request. */
  readonly firstWithin: number
  /** Milliseconds it may be without its next request. */
  readonly nextWithin: number
}

/** Milliseconds that the first request of a new connection may still take when the server closes. */
const lastCall = 500

const tooLate = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'

/**
 * Connections whose requests so far were all answered from the response cache. There is no parser here: each piece of
 * data that arrives must be one whole head, byte for byte as one that node:http has parsed before. With anything else the
 * connection goes over to node:http, and stays there.
 *
 * State of a connection, and what happens in it:
 *
 * | state     | known head, body in memory | known head, body in a file | anything else             | the client ends | time-out      | server closes   |
 * | --------- | -------------------------- | -------------------------- | ------------------------- | --------------- | ------------- | --------------- |
 * | `new`     | write it → `idle`          | send it → `sending`        | hand over → gone          | end → gone      | 408 → gone    | wait `lastCall` |
 * | `idle`    | write it → `idle`          | send it → `sending`        | hand over → gone          | end → gone      | close → gone  | end → gone      |
 * | `sending` | push back, stop reading    | push back, stop reading    | push back, stop reading   | end after it    | the sender's  | end after it    |
 *
 * `sending` ends in `idle` when all has left, and the connection reads on. If the body fails, the connection is cut.
 *
 * A piece begins where a request begins, because every request before it was whole and had no body.
 *
 * An exception before a byte of the answer was written hands the connection over; later it cuts the connection.
 */
export class FastPath {
  readonly #options: FastPathOptions
  readonly #connections = new Set<Connection>()

  constructor(options: FastPathOptions) {
    this.#options = options
  }

  take(socket: Socket): void {
    const connection = new Connection(socket, this.#options, () => this.#connections.delete(connection))
    this.#connections.add(connection)
  }

  /** Ends all connections after their answers. New ones may still send their first request for a moment. */
  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  /** Ends all connections at once. */
  cut(): void {
    for (const connection of this.#connections) connection.cut()
  }
}

class Connection {
  readonly #socket: Socket
  readonly #options: FastPathOptions
  /** Called once it is no longer the fast path's. */
  readonly #left: () => void
  /** The client's address as JSON, for the log. */
  readonly #client: string
  readonly #onData = (piece: Buffer): void => this.#take(piece)
  readonly #onEnd = (): void => this.#endReading()
  readonly #onTimeout = (): void => this.#expire()
  readonly #onClose = (): void => this.#left()
  #state: 'new' | 'sending' | 'idle' = 'new'
  #closing = false

  constructor(socket: Socket, options: FastPathOptions, left: () => void) {
    this.#socket = socket
    this.#options = options
    this.#left = left
    this.#client = JSON.stringify(socket.remoteAddress ?? '')
    socket
      .on('data', this.#onData)
      .on('end', this.#onEnd)
      .on('timeout', this.#onTimeout)
      .on('close', this.#onClose)
      .on('error', ignore)
      .setTimeout(options.firstWithin)
  }

  close(): void {
    if (this.#state === 'idle') this.#end()
    else if (this.#state === 'new' && !this.#closing) this.#socket.setTimeout(lastCall)
    this.#closing = true
  }

  cut(): void {
    this.#socket.destroy()
  }

  #end(): void {
    if (this.#socket.writableEnded) return
    this.#socket.off('data', this.#onData).resume()
    this.#socket.destroySoon()
  }

  /** The client sends nothing more. */
  #endReading(): void {
    if (this.#state === 'sending') this.#closing = true
    else this.#socket.end()
  }

  #take(piece: Buffer): void {
    if (this.#state === 'sending') {
      this.#socket.pause().unshift(piece)
      return
    }
    const response = this.#lookUp(piece)
    if (response === undefined) this.#handOver(piece)
    else if (typeof response === 'string') this.#write(response)
    // It settles whatever happens: an answer that cannot go on is cut.
    else void this.#send(response).catch(() => this.cut())
  }

  /** Undefined, too, where that fails: node:http will meet the same failure, and answer with it. */
  #lookUp(piece: Buffer): string | FileResponse | undefined {
    const { length } = piece
    // A client that does not read, and one that sends several requests at once, are node:http's to deal with.
    if (length > maxHead || this.#socket.writableLength > 0) return undefined
    try {
      return this.#options.responses.lookUp(piece.toString('latin1'), this.#client)
    } catch {
      return undefined
    }
  }

  #write(response: string): void {
    this.#socket.write(response, 'latin1')
    // An idle connection has its time limit, and the socket starts it again by itself.
    if (this.#state === 'new' || this.#closing) this.#rest()
  }

  async #send(response: FileResponse): Promise<void> {
    this.#state = 'sending'
    const isWhole = await response.send(this.#socket)
    if (!isWhole) return
    this.#rest()
    this.#socket.resume()
  }

  /** After an answer. */
  #rest(): void {
    this.#state = 'idle'
    if (this.#closing) this.#end()
    else this.#socket.setTimeout(this.#options.nextWithin)
  }

  #handOver(piece: Buffer): void {
    this.#left()
    const socket = this.#socket
    socket
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('timeout', this.#onTimeout)
      .off('close', this.#onClose)
      .off('error', ignore)
      .setTimeout(0)
    this.#options.handOver(socket)
    // Last, so that node:http listens already: nothing else can have come in between.
    socket.unshift(piece)
  }

  #expire(): void {
    // Whoever sends an answer looks after the client's time meanwhile.
    if (this.#state === 'sending') return
    if (this.#state === 'idle') this.#socket.destroy()
    else if (this.#closing) this.#end()
    // As node:http says it.
    else this.#socket.end(tooLate, () => this.#socket.destroy())
  }
}

function ignore(): void {}
