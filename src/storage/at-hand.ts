import { type Libc, loadLibc, type Vector } from '../threads/libc.ts'

/** Bytes that are read at once, at most: to copy more keeps the event loop as long as a trip to the thread pool would. */
const most = 16 * 1024

/** openat2(2): its number is the same on all processors. */
const openNumber = 437
const workingFolder = -100
const flags = { closeOnExec: 0o2000000, cachedOnly: 0x20 }
const how = Buffer.alloc(24)
how.writeUInt32LE(flags.closeOnExec, 0)
how.writeUInt32LE(flags.cachedOnly, 16)

const readWithoutWaiting = 8

const absent = 2
/** The system does not know the call, or not for this file system, or a container forbids it. */
const cannot = new Set([1, 7, 22, 38, 95])

/**
 * What the kernel has in memory of files, had right here: a trip to the thread pool for it is twenty times the work. What
 * would wait for the disk is undefined, and the thread pool's to do. Linux 5.12 and later.
 */
export class AtHand {
  readonly #libc: Libc
  readonly #memory: Vector
  #opens = true
  #reads = true

  /** Undefined where the system has it not. */
  static load(): AtHand | undefined {
    const libc = loadLibc()
    return libc && new AtHand(libc)
  }

  private constructor(libc: Libc) {
    this.#libc = libc
    this.#memory = libc.vector(most)
  }

  /** A descriptor to read from, the caller's to close. */
  open(path: string): number | 'absent' | undefined {
    if (!this.#opens) return undefined
    const descriptor = this.#libc.openat2(openNumber, workingFolder, path, how, how.length)
    if (descriptor >= 0) return descriptor
    const error = this.#libc.errno()
    if (error === absent) return 'absent'
    // Of any other trouble the thread pool will tell.
    this.#opens = !cannot.has(error)
    return undefined
  }

  /** The bytes read, as many as are in memory; 0 at the end of the file. */
  read(descriptor: number, into: Buffer, length: number, position: number): number | undefined {
    if (!this.#reads || length > most) return undefined
    const { address, bytes, limit } = this.#memory
    limit(length)
    const read = this.#libc.preadv(descriptor, address, 1, position, readWithoutWaiting)
    if (read < 0) {
      this.#reads = !cannot.has(this.#libc.errno())
      return undefined
    }
    bytes.copy(into, 0, 0, read)
    return read
  }
}
