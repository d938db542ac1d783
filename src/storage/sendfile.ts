import { closeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Moved, nothingMoved } from './blob-store.ts'

/** What one call moves at most, in bytes, so that no thread of the pool is kept by one fast client. */
const mostAtOnce = 8 * 1024 * 1024
/** Below this a copy is as cheap. */
const worthMoving = 16 * 1024
/** Calls at once: fewer than the thread pool has threads, so that a slow disk leaves some to others. */
const mostCalls = 12

type Call = (...values: readonly unknown[]) => number
type AsyncCall = { async(...values: readonly unknown[]): void }

/**
 * sendfile(2): bytes of the page cache go into a socket without passing through this process, at a third of the CPU that
 * reading and writing take. Node.js has no such call; koffi makes it, where it is installed and the system is Linux.
 */
export class Sendfile {
  readonly #sendfile: AsyncCall
  readonly #duplicate: Call
  readonly #waiting: (() => void)[] = []
  #calls = 0

  /** Undefined where it cannot be had: everything works without it, at the price of two copies. */
  static load(): Sendfile | undefined {
    // The offset is passed as 64 bits.
    if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) return undefined
    try {
      const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
      // Else the memory of every further call is made for it, and that costs more than the call.
      koffi.config({ resident_async_pools: 2 * mostCalls })
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
    if (length < worthMoving) return nothingMoved
    // Of our own: the connection may end meanwhile, and its number be that of another client's before the call is made.
    const out = this.#duplicate(socket)
    if (out < 0) return nothingMoved
    const asked = Math.min(length, mostAtOnce)
    await this.#enter()
    try {
      const bytes = await this.#call(out, file, position, asked)
      return bytes > 0 ? { bytes, full: bytes < asked } : nothingMoved
    } finally {
      closeSync(out)
      this.#leave()
    }
  }

  async #enter(): Promise<void> {
    if (this.#calls < mostCalls) this.#calls += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Whoever waits takes the place over. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#calls -= 1
  }

  #call(out: number, file: number, position: number, count: number): Promise<number> {
    return new Promise((resolve) => {
      const done = (error: unknown, bytes: number): void => resolve(error ? -1 : bytes)
      try {
        this.#sendfile.async(out, file, [position], count, done)
      } catch {
        // No memory for one call more.
        resolve(-1)
      }
    })
  }
}
