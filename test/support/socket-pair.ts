import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** One end of a connection, read when it is asked to. */
export class End {
  readonly socket: Socket
  #wake = Promise.withResolvers<void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    for (const event of ['readable', 'end', 'close']) {
      socket.on(event, () => {
        this.#wake.resolve()
        this.#wake = Promise.withResolvers()
      })
    }
  }

  /** The descriptor. Node.js has no public way to it. */
  get fd(): number {
    const { fd } = (this.socket as Socket & { _handle?: { fd?: number } })._handle ?? {}
    if (fd === undefined) throw new Error('a socket without a descriptor')
    return fd
  }

  /** Exactly so many bytes; fewer only where the other end closes. */
  async receive(count: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (let missing = count; missing > 0; ) {
      const chunk = this.socket.read(Math.min(missing, this.socket.readableLength) || undefined) as Buffer | null
      if (chunk) {
        chunks.push(chunk)
        missing -= chunk.length
      } else if (this.socket.readableEnded || this.socket.closed) break
      else await this.#wake.promise
    }
    return Buffer.concat(chunks)
  }

  /** Resolves when the kernel has taken it. */
  write(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }

  /** As `write`, as far as the other end takes it. */
  send(bytes: Buffer): void {
    void this.write(bytes).catch(() => undefined)
  }

  async close(): Promise<void> {
    this.socket.destroy()
    while (!this.socket.closed) await this.#wake.promise
  }
}

/** Both ends of a connection. */
export interface SocketPair extends AsyncDisposable {
  readonly ours: End
  readonly theirs: End
}

export async function socketPair(): Promise<SocketPair> {
  const server = await pairServer()
  const pair = await connectPair(server)
  server.close()
  return pair
}

export async function pairServer(): Promise<Server> {
  const server = createServer({ noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** Opens two descriptors, one after the other, and none else. */
export async function connectPair(server: Server): Promise<SocketPair> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[accepted]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [[Socket], unknown]
  const [ours, theirs] = [new End(accepted), new End(socket)]
  return {
    ours,
    theirs,
    async [Symbol.asyncDispose]() {
      await Promise.all([ours.close(), theirs.close()])
    },
  }
}

/** Both ends of a connection, of which Node.js does not read ours, by its descriptor. */
export interface UnreadPair extends AsyncDisposable {
  readonly ours: Socket
  readonly fd: number
  readonly theirs: End
}

export async function unreadPair(): Promise<UnreadPair> {
  const server = createServer({ noDelay: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[ours]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [[Socket], unknown]
  server.close()
  ours.on('error', () => {})
  const { fd } = (ours as Socket & { _handle?: { fd?: number } })._handle ?? {}
  if (fd === undefined) throw new Error('a socket without a descriptor')
  const theirs = new End(socket)
  return {
    ours,
    fd,
    theirs,
    async [Symbol.asyncDispose]() {
      const closed = ours.closed ? undefined : once(ours, 'close')
      ours.destroy()
      await Promise.all([closed, theirs.close()])
    },
  }
}

/** What Node.js reads of what is left in it, when the other side has nothing more to say. */
export async function leftIn({ ours, theirs }: UnreadPair): Promise<Buffer> {
  const chunks: Buffer[] = []
  theirs.socket.end()
  for await (const chunk of ours) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
