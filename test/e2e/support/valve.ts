import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A TCP relay in front of a server, which lets so many bytes of its answers through, and no more until it is opened. */
export class Valve implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #held = new Set<Socket>()
  readonly #limit: number
  #passed = 0
  #open = false

  private constructor(port: number, limit: number) {
    this.#limit = limit
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket)
        socket.on('error', () => other.destroy())
        socket.on('close', () => {
          this.#sockets.delete(socket)
          this.#held.delete(socket)
          other.destroy()
        })
      }
      near.pipe(far)
      far.pipe(near)
      far.on('data', (chunk: Buffer) => {
        this.#passed += chunk.length
        if (this.holds) this.#hold(far, near)
      })
    })
  }

  /** In front of a port of this machine. */
  static async start(port: number, limit: number): Promise<Valve> {
    const valve = new Valve(port, limit)
    valve.#server.listen(0, '127.0.0.1')
    await once(valve.#server, 'listening')
    return valve
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Whether the limit is reached, and what comes now waits. */
  get holds(): boolean {
    return !this.#open && this.#passed >= this.#limit
  }

  open(): void {
    this.#open = true
    for (const socket of this.#held) socket.resume()
    this.#held.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #hold(far: Socket, near: Socket): void {
    far.unpipe(near)
    far.pause()
    this.#held.add(far)
    const flow = () => far.pipe(near)
    far.once('resume', flow)
  }
}
