import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface FirstByte {
  /** Milliseconds from the request until headers, and until the first byte of the body. */
  readonly headers: number
  readonly body: number
}

interface Exchange {
  readonly startedAt: number
  head: string
  headers?: number
  body?: number
  /** Bytes of the body that have yet to come; known with the headers. */
  left: number
  readonly settle: PromiseWithResolvers<FirstByte>
}

/**
 * A client that has pulled the manifest over the same connection. It reads into one buffer: bodies kept by node:http make
 * garbage, and its collection takes both processors for some 12 ms, while the next answer is being waited for.
 */
export class FirstByteClient implements Disposable {
  readonly #socket: Socket
  readonly #host: string
  #exchange: Exchange | undefined

  private constructor({ hostname, port, host }: URL) {
    const callback = (length: number, buffer: Uint8Array): boolean => {
      this.#receive(Buffer.from(buffer.buffer, buffer.byteOffset, length))
      return true
    }
    this.#host = host
    this.#socket = connect({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: { buffer: Buffer.alloc(256 * 1024), callback },
    })
    this.#socket.on('error', ({ message }) => this.#fail(message))
    this.#socket.on('close', () => this.#fail('the connection was closed'))
  }

  /** To the server of a URL. */
  static async connect(url: string): Promise<FirstByteClient> {
    const client = new FirstByteClient(new URL(url))
    await once(client.#socket, 'connect')
    return client
  }

  /** Reads the whole body, so that the connection can be used again. */
  get(url: string): Promise<FirstByte> {
    const settle = Promise.withResolvers<FirstByte>()
    this.#exchange = { startedAt: performance.now(), head: '', left: 0, settle }
    this.#socket.write(`GET ${new URL(url).pathname} HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`, (error) => {
      // A connection that has ended since tells of that to nobody else.
      if (error) this.#fail(error.message)
    })
    return settle.promise
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  #receive(bytes: Buffer): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    const since = performance.now() - exchange.startedAt
    const body = exchange.headers === undefined ? this.#readHead(exchange, bytes, since) : bytes.length
    if (body === 0 || exchange.headers === undefined) return
    exchange.body ??= since
    exchange.left -= body
    if (exchange.left > 0) return
    this.#exchange = undefined
    exchange.settle.resolve({ headers: exchange.headers, body: exchange.body })
  }

  /** How many of these bytes are of the body. */
  #readHead(exchange: Exchange, bytes: Buffer, since: number): number {
    exchange.head += bytes.toString('latin1')
    const end = exchange.head.indexOf('\r\n\r\n')
    if (end < 0) return 0
    const head = exchange.head.slice(0, end)
    const length = /^content-length: (\d+)$/im.exec(head)?.[1]
    if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
      this.#fail(`it answered ${head.split('\r\n', 1)[0]}`)
      return 0
    }
    exchange.headers = since
    exchange.left = Number(length)
    return exchange.head.length - end - 4
  }

  #fail(reason: string): void {
    this.#exchange?.settle.reject(new Error(`${this.#host}: ${reason}`))
    this.#exchange = undefined
  }
}
