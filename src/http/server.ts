import { type IncomingMessage, Server, type ServerResponse } from 'node:http'

/** Longer than any known client keeps an idle connection (BuildKit: 120 s), so that the client closes it, not we. */
export const keepAlive = 125_000
/** A request's headers have to be there by then; it says nothing about how long an answer takes. */
const headersWithin = 30_000

const noTunnels = [
  'HTTP/1.1 405 Method Not Allowed',
  'Allow: GET, HEAD',
  'Connection: close',
  'Content-Length: 0',
  '',
  '',
].join('\r\n')

export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * An HTTP server with settings that fit container clients. What is not HTTP is answered by Node itself (400, 408, 431,
 * and never into an answer that is under way), which then closes the connection.
 */
export class HttpServer extends Server {
  constructor(handler: Handler) {
    super({ keepAliveTimeout: keepAlive, headersTimeout: headersWithin, noDelay: true }, handler)
    this.requestTimeout = headersWithin
    this.timeout = 0
    this.maxHeadersCount = 100
    // Node would answer what it does not know in `Expect` with a bare 417; RFC 9110 §10.1.1 lets a server ignore it.
    this.on('checkExpectation', handler)
    this.on('connect', (_request, socket) => socket.end(noTunnels, () => socket.destroy()))
    // A connection that could not be taken (no file descriptor left, say) is lost, and no reason to end the process.
    this.on('error', () => undefined)
  }
}

/** Resolves when it listens. Rejects with the system's error: the port is taken, or not ours to take. */
export function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Takes no new connections; waits so many milliseconds for requests that are under way, and then cuts them. */
export async function closeWithin(server: Server, limit: number): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection that finishes its request while the server closes stays open until its client is idle too.
  const sweep = setInterval(() => server.closeIdleConnections(), 50)
  const deadline = setTimeout(() => server.closeAllConnections(), limit)
  await closed
  clearInterval(sweep)
  clearTimeout(deadline)
}
