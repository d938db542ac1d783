import { receiveSize } from './connector.ts'

/** What there is, in bytes; and how many bytes are kept for the next one who needs them. */
const sizes = [receiveSize, 2 * receiveSize, 4 * receiveSize]
const mostKept = 32 * 1024 * 1024

/**
 * Buffers that threads can see, which are used again. The garbage collector does not count what shared memory takes: what
 * bodies leave behind would pile up to hundreds of megabytes before it is let go.
 */
export class Buffers {
  readonly #kept = new Map<number, Buffer[]>(sizes.map((size) => [size, []]))
  #bytes = 0

  /** With room for so many bytes at least; what they are is undefined. */
  take(bytes: number): Buffer {
    const size = sizes.find((least) => least >= bytes) ?? bytes
    const kept = this.#kept.get(size)?.pop()
    if (!kept) return Buffer.from(new SharedArrayBuffer(size))
    this.#bytes -= size
    return kept
  }

  /** From whoever is the last to know of it. */
  giveBack(buffer: Buffer): void {
    const kept = this.#kept.get(buffer.length)
    if (!kept || !(buffer.buffer instanceof SharedArrayBuffer) || this.#bytes + buffer.length > mostKept) return
    kept.push(buffer)
    this.#bytes += buffer.length
  }
}

export const buffers = new Buffers()
