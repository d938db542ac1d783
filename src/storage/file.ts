import { close, closeSync, fstatSync, open, read, write } from 'node:fs'
import { promisify } from 'node:util'
import type { PageCache } from './page-cache.ts'
import type { SendfilePool } from './sendfile/sendfile-pool.ts'

const openFile = promisify(open)
const closeFile = promisify(close)

/** What spares the thread pool. */
export interface FileHelp {
  readonly sending?: SendfilePool | undefined
  readonly pageCache?: PageCache | undefined
}

/**
 * An open file with several users. The last one to release it closes it.
 *
 * Plain descriptors and callbacks, since this is the hot path: a FileHandle costs two promises and an object a call.
 */
export class SharedFile {
  readonly fd: number
  readonly #help: FileHelp
  /** Whether it was opened on the event loop, to be read. */
  readonly #openedAtOnce: boolean
  #users = 1

  /** Rejects with the system's error. */
  static async open(path: string, flags: string, help: FileHelp = {}): Promise<SharedFile> {
    const file = flags === 'r' ? SharedFile.tryCached(path, help) : undefined
    if (file === 'absent') throw Object.assign(new Error(`no such file: ${path}`), { code: 'ENOENT' })
    return file ?? new SharedFile(await openFile(path, flags, 0o600), help, false)
  }

  /** Opens to read, if that needs no waiting. Undefined means: use `open`. */
  static tryCached(path: string, help: FileHelp = {}): SharedFile | 'absent' | undefined {
    const fd = help.pageCache?.open(path)
    return typeof fd === 'number' ? new SharedFile(fd, help, true) : fd
  }

  private constructor(fd: number, help: FileHelp, openedAtOnce: boolean) {
    this.fd = fd
    this.#help = help
    this.#openedAtOnce = openedAtOnce
  }

  /** One more user. Throws where the last one has released it: by now the descriptor may be another file's. */
  share(): this {
    if (this.#users === 0) throw new Error('the file is closed')
    this.#users += 1
    return this
  }

  /** Never rejects: what had to be durable was flushed before, and nobody could do anything about it. */
  async release(): Promise<void> {
    this.#users -= 1
    if (this.#users > 0) return
    // With a file that was deleted meanwhile, to close it is to free all it takes of the disk.
    if (this.#openedAtOnce && fstatSync(this.fd).nlink > 0) closeSync(this.fd)
    else await closeFile(this.fd).catch(() => undefined)
  }

  /** Resolves to the bytes read, 0 at the end of the file. */
  read(into: Buffer, length: number, position: number): Promise<number> {
    const cached = this.#help.pageCache?.read(this.fd, into, length, position)
    if (cached !== undefined) return Promise.resolve(cached)
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
  get sending(): SendfilePool | undefined {
    return this.#help.sending
  }
}
