import { receiveSize } from './connector.ts'

/** How many are kept for the next one who needs them: 8 MiB. */
const mostKept = 64

/**
 * Buffers that threads can see, which are used again. The garbage collector does not count what shared memory takes: what
 * bodies leave behind would pile up to hundreds of megabytes before it is let go.
 */
export class Buffers {
  readonly #kept: Buffer[] = []

  /** With room for so many bytes at least; what they are is undefined. */
  take(bytes: number): Buffer {
    const kept = bytes <= receiveSize ? this.#kept.pop() : undefined
    return kept ?? Buffer.from(new SharedArrayBuffer(Math.max(bytes, receiveSize)))
  }

  /** From whoever is the last to know of it. Those of another size or kind are let go. */
  giveBack(buffer: Buffer): void {
    const isOurs = buffer.length === receiveSize && buffer.buffer instanceof SharedArrayBuffer
    if (isOurs && this.#kept.length < mostKept) this.#kept.push(buffer)
  }
}

export const buffers = new Buffers()
