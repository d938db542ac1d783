import type { Socket } from 'node:net'
import { longestHead, type Shortcut } from './shortcut.ts'

export interface LaneOptions {
  readonly shortcut: Pick<Shortcut, 'answer'>
  /** Takes a connection for good, as if it were new; what was read of it is yet to come. */
  readonly handOver: (socket: Socket) => void
  /** Milliseconds a connection may be without its first request. */
  readonly firstWithin: number
  /** Milliseconds it may be without the next one. */
  readonly nextWithin: number
}

/** Milliseconds that a first request may still take to come when the server closes. */
const lastCall = 500

const tooLate = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'

/**
 * Where connections are until they bring something that takes more than looking up: a head that is not known, or not as
 * one piece, or one whose answer is not at hand. With that, and all that follows, they go over to node:http.
 *
 * Every piece begins where a request begins, since everything before it was a whole request without a body.
 */
export class Lane {
  readonly #options: LaneOptions
  readonly #connections = new Set<Connection>()

  constructor(options: LaneOptions) {
    this.#options = options
  }

  take(socket: Socket): void {
    const connection = new Connection(socket, this.#options, () => this.#connections.delete(connection))
    this.#connections.add(connection)
  }

  /** Ends all connections, after what has been answered; those whose first request may be on its way a little later. */
  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  /** Ends all connections, whatever they still have to send. */
  cut(): void {
    for (const connection of this.#connections) connection.cut()
  }
}

/** A connection as long as it is in the lane. */
class Connection {
  readonly #socket: Socket
  readonly #options: LaneOptions
  readonly #left: () => void
  /** As JSON, since that is how it is told, again and again. */
  readonly #client: string
  readonly #onData = (piece: Buffer): void => this.#take(piece)
  readonly #onEnd = (): void => void this.#socket.end()
  readonly #onTimeout = (): void => this.#expire()
  readonly #onClose = (): void => this.#left()
  #answered = false
  #closing = false

  constructor(socket: Socket, options: LaneOptions, left: () => void) {
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
    if (this.#answered) this.#end()
    else if (!this.#closing) this.#socket.setTimeout(lastCall)
    this.#closing = true
  }

  #end(): void {
    if (this.#socket.writableEnded) return
    this.#socket.off('data', this.#onData).resume()
    this.#socket.destroySoon()
  }

  cut(): void {
    this.#socket.destroy()
  }

  #take(piece: Buffer): void {
    const answer = this.#answer(piece)
    if (answer === undefined) {
      this.#handOver(piece)
      return
    }
    this.#socket.write(answer, 'latin1')
    if (this.#closing) this.#end()
    if (this.#answered) return
    this.#answered = true
    this.#socket.setTimeout(this.#options.nextWithin)
  }

  #answer(piece: Buffer): string | undefined {
    const socket = this.#socket
    // A client that does not read, and one that says much at a time, are node:http's to deal with.
    if (piece.length > longestHead || socket.writableLength > 0) return undefined
    return this.#options.shortcut.answer(piece.toString('latin1'), this.#client)
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
    // Only now that there is somebody to hear it: nothing can come before it.
    socket.unshift(piece)
  }

  #expire(): void {
    if (this.#answered) this.#socket.destroy()
    else if (this.#closing) this.#end()
    // As node:http says it.
    else this.#socket.end(tooLate, () => this.#socket.destroy())
  }
}

function ignore(): void {}
