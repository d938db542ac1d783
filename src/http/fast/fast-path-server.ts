import type { Socket } from 'node:net'
import { type Handler, HttpServer } from '../server.ts'
import { FastPath, type FastPathOptions } from './fast-path.ts'

export interface FastPathServerOptions {
  /** Answers parsed requests. */
  readonly handler: Handler
  /** Answers requests by the text of their head. */
  readonly responses: FastPathOptions['responses']
}

/** An HTTP server whose connections begin in the fast path, and go over to node:http with the first request it leaves. */
export class FastPathServer extends HttpServer {
  readonly #fastPath: FastPath

  constructor({ handler, responses }: FastPathServerOptions) {
    super(handler)
    const ofHttp = this.listeners('connection')
    this.removeAllListeners('connection')
    this.#fastPath = new FastPath({
      responses,
      handOver: (socket) => {
        for (const listener of ofHttp) listener.call(this, socket)
      },
      firstWithin: this.headersTimeout,
      // Node.js 24.6 and later have this property; earlier ones add as much without it.
      nextWithin: this.keepAliveTimeout + (this.keepAliveTimeoutBuffer ?? 1000),
    })
    this.on('connection', (socket: Socket) => this.#fastPath.take(socket))
  }

  /** A connection of the fast path that is in the middle of an answer ends after it. */
  override closeIdleConnections(): void {
    this.#fastPath.close()
    super.closeIdleConnections()
  }

  override closeAllConnections(): void {
    this.#fastPath.cut()
    super.closeAllConnections()
  }
}
