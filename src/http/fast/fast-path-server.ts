import type { Socket } from 'node:net'
import { type Handler, HttpServer } from '../server.ts'
import { Lane, type LaneOptions } from './fast-path.ts'

export interface LaneServerOptions {
  /** Answers what has been parsed. */
  readonly handler: Handler
  /** Answers what need not be. */
  readonly shortcut: LaneOptions['shortcut']
}

/** An HTTP server whose connections belong to a lane first, and to node:http from what the lane does not answer on. */
export class LaneServer extends HttpServer {
  readonly #lane: Lane

  constructor({ handler, shortcut }: LaneServerOptions) {
    super(handler)
    const ordinary = this.listeners('connection')
    this.removeAllListeners('connection')
    this.#lane = new Lane({
      shortcut,
      handOver: (socket) => {
        for (const listener of ordinary) listener.call(this, socket)
      },
      firstWithin: this.headersTimeout,
      // Its own of Node.js 24.6 and later; earlier ones have no such property, and add as much.
      nextWithin: this.keepAliveTimeout + (this.keepAliveTimeoutBuffer ?? 1000),
    })
    this.on('connection', (socket: Socket) => this.#lane.take(socket))
  }

  /** In the lane what is under way ends by itself, and its connection after it. */
  override closeIdleConnections(): void {
    this.#lane.close()
    super.closeIdleConnections()
  }

  override closeAllConnections(): void {
    this.#lane.cut()
    super.closeAllConnections()
  }
}
