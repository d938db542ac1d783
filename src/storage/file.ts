import { close, open, read, write } from 'node:fs'
import { promisify } from 'node:util'
import { type Moved, nothingMoved } from './blob-store.ts'
import type { Sendfile } from './sendfile.ts'

const openFile = promisify(open)
const closeFile = promisify(close)

/**
 * An open file shared by several users and closed when the last lets go.
 *
 * Plain descriptors and callbacks, since this is the hot path: a FileHandle costs two promises and an object a call.
 */
export class SharedFile {
  readonly fd: number
  readonly #sendfile: Sendfile | undefined
  #users = 1

  /** Rejects with the system's error. */
  static async open(path: string, flags: string, sendfile: Sendfile | undefined): Promise<SharedFile> {
    return new SharedFile(await openFile(path, flags, 0o600), sendfile)
  }

  private constructor(fd: number, sendfile: Sendfile | undefined) {
    this.fd = fd
    this.#sendfile = sendfile
  }

  /** Whether `move` is worth a try. */
  get moves(): boolean {
    return this.#sendfile !== undefined
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

  /** Moves bytes into a socket, past this process. Never rejects. */
  async move(socket: number, span: { position: number; length: number }): Promise<Moved> {
    return (await this.#sendfile?.move(this.fd, socket, span)) ?? nothingMoved
  }
}
