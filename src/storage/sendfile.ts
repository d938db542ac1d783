import { closeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Moved, nothingMoved } from './blob-store.ts'

/** What one call moves at most, in bytes, so that no thread of the pool is kept by one fast client. */
const mostAtOnce = 4 * 1024 * 1024
/** Below this a copy is as cheap. */
const worthMoving = 16 * 1024
/** Calls at once; as many as the thread pool has threads. Whoever comes on top reads and writes. */
const mostCalls = 16

type Call = (...values: readonly unknown[]) => number
type AsyncCall = { async(...values: readonly unknown[]): void }

/**
 * sendfile(2): bytes of the page cache go into a socket without passing through this process, at a fifth of the CPU that
 * reading and writing take. Node.js has no such call; koffi makes it, where it is installed and the system is Linux.
 */
export class Sendfile {
  readonly #sendfile: AsyncCall
  readonly #duplicate: Call
  #calls = 0

  /** Undefined where it cannot be had: everything works without it, at the price of two copies. */
  static load(): Sendfile | undefined {
    // The offset is passed as 64 bits.
    if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) return undefined
    try {
      const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
      const libc = koffi.load(null)
      const sendfile = libc.func('int64_t sendfile(int out, int in, _Inout_ int64_t *offset, size_t count)')
      const duplicate = libc.func('int dup(int fd)')
      return new Sendfile(sendfile as AsyncCall, duplicate as Call)
    } catch {
      return undefined
    }
  }

  private constructor(sendfile: AsyncCall, duplicate: Call) {
    this.#sendfile = sendfile
    this.#duplicate = duplicate
  }

  /**
   * Moves up to `length` bytes at `position` of an open file into a non-blocking socket. Never rejects: a file that cannot
   * be read, or a client that has left, is told by whatever comes next.
   */
  async move(file: number, socket: number, { position, length }: { position: number; length: number }): Promise<Moved> {
    if (length < worthMoving || this.#calls >= mostCalls) return nothingMoved
    // Of our own: the connection may end meanwhile, and its number be that of another client's before the call is made.
    const out = this.#duplicate(socket)
    if (out < 0) return nothingMoved
    const asked = Math.min(length, mostAtOnce)
    this.#calls += 1
    try {
      const bytes = await this.#call(out, file, position, asked)
      return bytes > 0 ? { bytes, full: bytes < asked } : nothingMoved
    } finally {
      this.#calls -= 1
      closeSync(out)
    }
  }

  #call(out: number, file: number, position: number, count: number): Promise<number> {
    return new Promise((resolve) => {
      const done = (error: unknown, bytes: number): void => resolve(error ? -1 : bytes)
      this.#sendfile.async(out, file, [position], count, done)
    })
  }
}
