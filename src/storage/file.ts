import { close, open, read, write } from 'node:fs'
import { promisify } from 'node:util'
import type { Sending, Sent } from './sending.ts'

const openFile = promisify(open)
const closeFile = promisify(close)

/**
 * An open file shared by several users and closed when the last lets go.
 *
 * Plain descriptors and callbacks, since this is the hot path: a FileHandle costs two promises and an object a call.
 */
export class SharedFile {
  readonly fd: number
  readonly #sending: Sending | undefined
  #users = 1

  /** Rejects with the system's error. */
  static async open(path: string, flags: string, sending: Sending | undefined): Promise<SharedFile> {
    return new SharedFile(await openFile(path, flags, 0o600), sending)
  }

  private constructor(fd: number, sending: Sending | undefined) {
    this.fd = fd
    this.#sending = sending
  }

  /** One more user. Throws where the last one has let go: by now the descriptor may be another file's. */
  share(): this {
    if (this.#users === 0) throw new Error('the file is closed')
    this.#users += 1
    return this
  }

  /** Never rejects: what had to be durable was flushed before, and nobody could do anything about it. */
  async release(): Promise<void> {
    this.#users -= 1
    if (this.#users === 0) await closeFile(this.fd).catch(() => undefined)
  }

  /** Resolves to the bytes read, 0 at the end of the file. */
  read(into: Buffer, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.fd, into, 0, length, position, (error, bytes) => (error ? reject(error) : resolve(bytes)))
    })
  }

  /** Resolves to the bytes written, which may be fewer than given. */
  write(chunk: Buffer, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      write(this.fd, chunk, 0, chunk.length, position, (error, bytes) => (error ? reject(error) : resolve(bytes)))
    })
  }

  /** What moves its bytes into sockets, where there is such a thing. */
  get move(): ((socket: number, span: { position: number; length: number }) => Sent) | undefined {
    const sending = this.#sending
    return sending && ((socket, span) => sending.move(this.fd, socket, span))
  }

  /** `Sending.cork`, where there is such a thing. */
  cork(socket: number): (() => void) | undefined {
    return this.#sending?.cork(socket)
  }
}
