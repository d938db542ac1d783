import { close, open, read, writev } from 'node:fs'
import { promisify } from 'node:util'

const openFile = promisify(open)
const closeFile = promisify(close)

/**
 * An open file shared by several users and closed when the last lets go.
 *
 * Plain descriptors and callbacks, since this is the hot path: a FileHandle costs two promises and an object a call.
 */
export class SharedFile {
  readonly fd: number
  #users = 1

  /** Rejects with the system's error. */
  static async open(path: string, flags: string): Promise<SharedFile> {
    return new SharedFile(await openFile(path, flags, 0o600))
  }

  private constructor(fd: number) {
    this.fd = fd
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
  write(chunks: readonly Buffer[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(this.fd, chunks as Buffer[], position, (error, bytes) => (error ? reject(error) : resolve(bytes)))
    })
  }
}
