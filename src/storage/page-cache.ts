import { type Libc, loadLibc, type Vector } from '../threads/libc.ts'

/** Bytes of one read at most: copying more would block the event loop as long as a trip to the thread pool takes. */
const maxRead = 16 * 1024

/** openat2(2): its number is the same on all processors. */
const openNumber = 437
const workingFolder = -100
const flags = { closeOnExec: 0o2000000, cachedOnly: 0x20 }
const how = Buffer.alloc(24)
how.writeUInt32LE(flags.closeOnExec, 0)
how.writeUInt32LE(flags.cachedOnly, 16)

const readWithoutWaiting = 8

const absent = 2
/** Errors that say: the system does not know the call, this file system does not have it, or a container forbids it. */
const unsupported = new Set([1, 7, 22, 38, 95])

/**
 * Files as far as the kernel has them in memory, opened and read on the event loop: a trip to the thread pool costs twenty
 * times as much. `undefined` means that it would wait for the disk, and that the thread pool has to do it. Linux 5.12 and
 * later.
 */
export class PageCache {
  readonly #libc: Libc
  readonly #memory: Vector
  #opens = true
  #reads = true

  /** Undefined where the system does not have it. */
  static load(): PageCache | undefined {
    const libc = loadLibc()
    return libc && new PageCache(libc)
  }

  private constructor(libc: Libc) {
    this.#libc = libc
    this.#memory = libc.vector(maxRead)
  }

  /** Opens to read. The caller closes the descriptor. */
  open(path: string): number | 'absent' | undefined {
    if (!this.#opens) return undefined
    const descriptor = this.#libc.openat2(openNumber, workingFolder, path, how, how.length)
    if (descriptor >= 0) return descriptor
    const error = this.#libc.errno()
    if (error === absent) return 'absent'
    // The thread pool reports any other trouble.
    this.#opens = !unsupported.has(error)
    return undefined
  }

  /** The number of bytes read, of those in memory; 0 at the end of the file. */
  read(descriptor: number, into: Buffer, length: number, position: number): number | undefined {
    if (!this.#reads || length > maxRead) return undefined
    const { address, bytes, limit } = this.#memory
    limit(length)
    const read = this.#libc.preadv(descriptor, address, 1, position, readWithoutWaiting)
    if (read < 0) {
      this.#reads = !unsupported.has(this.#libc.errno())
      return undefined
    }
    bytes.copy(into, 0, 0, read)
    return read
  }
}
