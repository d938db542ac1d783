import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface WireAnswer {
  readonly status: number
  readonly version: string
  /** As it came, without its last, empty line. */
  readonly head: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** One connection, written and read byte by byte, so that an answer out of step is seen as what it is. */
export class Wire implements Disposable {
  readonly #socket: Socket
  #pieces: Buffer[] = []
  #length = 0
  #ended = false
  #wake = Promise.withResolvers<void>()

  static async open(url: string): Promise<Wire> {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    return new Wire(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => this.#end())
    socket.on('end', () => this.#end())
    socket.on('close', () => this.#end())
    socket.on('data', (chunk) => {
      this.#pieces.push(chunk)
      this.#length += chunk.length
      this.#awaken()
    })
  }

  /** Whether the other side has closed it. */
  get ended(): boolean {
    return this.#ended
  }

  /** How many bytes have come that were not read as an answer. */
  get waiting(): number {
    return this.#length
  }

  /** What has come and was not read as an answer. */
  get rest(): string {
    return this.#received().toString('latin1')
  }

  send(text: string): void {
    this.#socket.write(text, 'latin1')
  }

  /** Sends no more, and goes on reading. */
  end(): void {
    this.#socket.end()
  }

  /** Takes no more until it resumes: then the other side cannot send. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Leaves as programs do that are killed with something unread. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  /** A whole request without a body; `Host` comes by itself. */
  request(line: string, headers: Readonly<Record<string, string>> = {}): void {
    const fields = Object.entries({ host: 'mirror.test', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
    this.send(`${line} HTTP/1.1\r\n${fields.join('')}\r\n`)
  }

  /** The next answer; `method` is that of its request. Undefined where the connection ends before it begins. */
  async answer(method = 'GET'): Promise<WireAnswer | undefined> {
    const head = await this.#until('\r\n\r\n')
    if (head === undefined) return undefined
    const [line = '', ...fields] = head.split('\r\n')
    const [, version = '', status] = /^(HTTP\/\d\.\d) (\d{3})/.exec(line) ?? []
    if (status === undefined) throw new Error(`no answer begins like this: ${JSON.stringify(line.slice(0, 100))}`)
    const headers = Object.fromEntries(
      fields.map((field) => {
        const colon = field.indexOf(':')
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()]
      }),
    )
    const bodiless = method === 'HEAD' || ['204', '304'].includes(status)
    const body = bodiless ? Buffer.alloc(0) : await this.#body(headers)
    return { status: Number(status), version, head, headers, body }
  }

  /** Resolves when the other side has closed it. */
  async closed(): Promise<void> {
    while (!this.#ended) await this.#wake.promise
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  async #body(headers: Readonly<Record<string, string>>): Promise<Buffer> {
    const { 'content-length': length, 'transfer-encoding': encoding } = headers
    if (encoding === 'chunked') return this.#chunks()
    if (length !== undefined) return this.#take(Number(length))
    await this.closed()
    return this.#take(this.#length)
  }

  async #chunks(): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (;;) {
      const size = Number.parseInt((await this.#until('\r\n')) ?? '', 16)
      if (Number.isNaN(size)) throw new Error('a chunk without a size')
      chunks.push(await this.#take(size))
      await this.#take(2)
      if (size === 0) return Buffer.concat(chunks)
    }
  }

  async #until(mark: string): Promise<string | undefined> {
    let at = this.#received().indexOf(mark)
    while (at < 0) {
      if (this.#ended) return undefined
      await this.#wake.promise
      at = this.#received().indexOf(mark)
    }
    return this.#cut(at + mark.length).toString('latin1', 0, at)
  }

  async #take(count: number): Promise<Buffer> {
    while (this.#length < count) {
      if (this.#ended) throw new Error(`the connection ended ${count - this.#length} bytes early`)
      await this.#wake.promise
    }
    return this.#cut(count)
  }

  /** All of it as one, and only when it is asked for: long bodies come in many pieces. */
  #received(): Buffer {
    const [first = Buffer.alloc(0), ...others] = this.#pieces
    const all = others.length === 0 ? first : Buffer.concat([first, ...others])
    this.#pieces = [all]
    return all
  }

  #cut(count: number): Buffer {
    const all = this.#received()
    this.#pieces = [all.subarray(count)]
    this.#length -= count
    return all.subarray(0, count)
  }

  #end(): void {
    this.#ended = true
    this.#awaken()
  }

  #awaken(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
}
