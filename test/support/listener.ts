import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** An HTTP server on a free port of the loopback that can go away and come back to the same port. */
export class Listener {
  readonly name: string
  readonly #handler: Handler
  #server: Server | undefined
  #port = 0

  /** `name` is listened on and part of the URL: `127.0.0.1` or `localhost`, one machine that looks like two. */
  constructor(name: string, handler: Handler) {
    this.name = name
    this.#handler = handler
  }

  get host(): string {
    return `${this.name}:${this.#port}`
  }

  get url(): string {
    return `http://${this.host}`
  }

  /** Does nothing while it listens. */
  async start(): Promise<void> {
    if (this.#server) return
    const server = createServer(this.#handler)
    this.#server = server
    server.listen(this.#port, this.name)
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
  }

  /** Ends every connection; new ones are refused. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (!server) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
}
