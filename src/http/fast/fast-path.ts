import type { Socket } from 'node:net'
import { type LongAnswer, longestHead, type Shortcut } from './response-cache.ts'

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
  readonly #onEnd = (): void => this.#leave()
  readonly #onTimeout = (): void => this.#expire()
  readonly #onClose = (): void => this.#left()
  /** Before its first request; in the middle of an answer; between requests. */
  #state: 'new' | 'sending' | 'idle' = 'new'
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
    if (this.#state === 'idle') this.#end()
    else if (this.#state === 'new' && !this.#closing) this.#socket.setTimeout(lastCall)
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

  /** Nothing more is coming. */
  #leave(): void {
    if (this.#state === 'sending') this.#closing = true
    else this.#socket.end()
  }

  #take(piece: Buffer): void {
    if (this.#state === 'sending') {
      this.#socket.pause().unshift(piece)
      return
    }
    const answer = this.#answer(piece)
    if (answer === undefined) {
      this.#handOver(piece)
      return
    }
    if (typeof answer !== 'string') {
      void this.#send(answer)
      return
    }
    this.#socket.write(answer, 'latin1')
    // Of an idle connection the time limit is set, and begins anew by itself.
    if (this.#state === 'new' || this.#closing) this.#rest()
  }

  /** After an answer. */
  #rest(): void {
    this.#state = 'idle'
    if (this.#closing) this.#end()
    else this.#socket.setTimeout(this.#options.nextWithin)
  }

  async #send(answer: LongAnswer): Promise<void> {
    this.#state = 'sending'
    const isWhole = await answer.send(this.#socket)
    if (!isWhole) return
    this.#rest()
    this.#socket.resume()
  }

  #answer(piece: Buffer): string | LongAnswer | undefined {
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
    // In the middle of an answer whoever sends it looks after that.
    if (this.#state === 'sending') return
    if (this.#state === 'idle') this.#socket.destroy()
    else if (this.#closing) this.#end()
    // As node:http says it.
    else this.#socket.end(tooLate, () => this.#socket.destroy())
  }
}

function ignore(): void {}
