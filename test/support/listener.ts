import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Certificate } from './certificate.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** An HTTP server, or with an identity an HTTPS server, on a free port of the loopback that can go away and come back to the same port. */
export class Listener {
  readonly name: string
  readonly #handler: Handler
  /** How many clients have made. */
  connections = 0
  readonly #identity: Certificate | undefined
  readonly #connections = new Set<Socket>()
  #server: Server | undefined
  #port = 0
  #most = Number.POSITIVE_INFINITY

  /** `name` is listened on and part of the URL: `127.0.0.1` or `localhost`, one machine that looks like two. */
  constructor(name: string, handler: Handler, identity?: Certificate) {
    this.name = name
    this.#handler = handler
    this.#identity = identity
  }

  get host(): string {
    return `${this.name}:${this.#port}`
  }

  get url(): string {
    return `${this.#identity ? 'https' : 'http'}://${this.host}`
  }

  /** Does nothing while it listens. */
  async start(): Promise<void> {
    if (this.#server) return
    const server = this.#identity ? createSecureServer(this.#identity, this.#handler) : createServer(this.#handler)
    server.maxConnections = this.#most
    server.on('connection', (socket) => {
      this.connections += 1
      this.#connections.add(socket)
      socket.once('close', () => this.#connections.delete(socket))
    })
    this.#server = server
    server.listen(this.#port, this.name)
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
  }

  /** Connections beyond so many are closed as they come; infinity for no limit. */
  limit(connections: number): void {
    this.#most = connections
    if (this.#server) this.#server.maxConnections = connections
  }

  /** Ends every connection; new ones are refused. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (!server) return
    const closed = once(server, 'close')
    server.close()
    // Those too whose request was cut: the server's own list has lost sight of them.
    for (const socket of this.#connections) socket.destroy()
    await closed
  }
}
