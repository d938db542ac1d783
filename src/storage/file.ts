import { close, closeSync, fstatSync, open, read, write } from 'node:fs'
import { promisify } from 'node:util'
import type { AtHand } from './at-hand.ts'
import type { Sending, Sent } from './sendfile/sendfile-pool.ts'

const openFile = promisify(open)
const closeFile = promisify(close)

/** What does without the thread pool. */
export interface FileHelp {
  readonly sending?: Sending | undefined
  readonly atHand?: AtHand | undefined
}

/**
 * An open file shared by several users and closed when the last lets go.
 *
 * Plain descriptors and callbacks, since this is the hot path: a FileHandle costs two promises and an object a call.
 */
export class SharedFile {
  readonly fd: number
  readonly #help: FileHelp
  /** Whether it was only to be read, and at hand. */
  readonly #wasAtHand: boolean
  #users = 1

  /** Rejects with the system's error. */
  static async open(path: string, flags: string, help: FileHelp = {}): Promise<SharedFile> {
    const file = flags === 'r' ? SharedFile.atHand(path, help) : undefined
    if (file === 'absent') throw Object.assign(new Error(`no such file: ${path}`), { code: 'ENOENT' })
    return file ?? new SharedFile(await openFile(path, flags, 0o600), help, false)
  }

  /** To be read, and opened without waiting; undefined where that needs `open`. */
  static atHand(path: string, help: FileHelp = {}): SharedFile | 'absent' | undefined {
    const fd = help.atHand?.open(path)
    return typeof fd === 'number' ? new SharedFile(fd, help, true) : fd
  }

  private constructor(fd: number, help: FileHelp, wasAtHand: boolean) {
    this.fd = fd
    this.#help = help
    this.#wasAtHand = wasAtHand
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
    if (this.#users > 0) return
    // With a file that was deleted meanwhile, to close it is to free all it takes of the disk.
    if (this.#wasAtHand && fstatSync(this.fd).nlink > 0) closeSync(this.fd)
    else await closeFile(this.fd).catch(() => undefined)
  }

  /** Resolves to the bytes read, 0 at the end of the file. */
  read(into: Buffer, length: number, position: number): Promise<number> {
    const atHand = this.#help.atHand?.read(this.fd, into, length, position)
    if (atHand !== undefined) return Promise.resolve(atHand)
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
    const { sending } = this.#help
    return sending && ((socket, span) => sending.move(this.fd, socket, span))
  }

  /** `Sending.cork`, where there is such a thing. */
  cork(socket: number): (() => void) | undefined {
    return this.#help.sending?.cork(socket)
  }
}
