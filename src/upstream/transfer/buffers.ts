import type { Memory } from '../upstream.ts'
import { receiveSize } from './connector.ts'

/**
 * What a body is received into unless its reader has memory for it: two buffers that take turns, one to be filled while the
 * reader has the other, made when they are needed.
 */
export class Buffers implements Memory {
  readonly #size: number
  #filling: Buffer | undefined
  #filled = 0
  /** What the reader has. */
  #lent: Buffer | undefined
  #spare: Buffer | undefined

  /** For a body of so many bytes, if that is known. */
  constructor(length: number | undefined) {
    this.#size = Math.min(length ?? receiveSize, receiveSize)
  }

  get hasRoom(): boolean {
    return this.#filled === 0
  }

  restart(): void {
    this.#filled = 0
  }

  room(): undefined {
    return undefined
  }

  keep(bytes: Buffer): Buffer {
    const filling = this.#filling ?? this.#spare ?? Buffer.allocUnsafeSlow(this.#size)
    this.#spare = undefined
    this.#filling = filling
    if (filling.length - this.#filled < bytes.length) return Buffer.from(bytes)
    bytes.copy(filling, this.#filled)
    this.#filled += bytes.length
    return filling.subarray(this.#filled - bytes.length, this.#filled)
  }

  /** The reader takes what was kept, and gives back what it had. */
  turn(): void {
    this.#spare ??= this.#lent
    this.#lent = undefined
    if (this.#filled === 0) return
    this.#lent = this.#filling
    this.#filling = undefined
    this.#filled = 0
  }
}
