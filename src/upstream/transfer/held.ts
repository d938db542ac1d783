/** What TLS hands over at once, at most: of what it has read, all that it can decipher. */
const usual = 64 * 1024

/**
 * Bytes that nobody takes yet, in memory that is used again: where a connection goes on for a while each time it is to
 * wait, new memory for each time is what the garbage collector is kept busy with. One row of bytes at a time.
 */
export class Held {
  #memory: Buffer | undefined
  /** Where the row ends. */
  #end = 0

  /** The row that is held already, or begins with these bytes, and more behind it. Valid until the next call. */
  hold(row: Buffer | undefined, more: Buffer): Buffer {
    const size = (row?.length ?? 0) + more.length
    if (size > usual) return row ? Buffer.concat([row, more]) : Buffer.from(more)
    this.#memory ??= Buffer.allocUnsafeSlow(usual)
    const start = this.#startOf(row, more.length, this.#memory)
    more.copy(this.#memory, this.#end)
    this.#end += more.length
    return this.#memory.subarray(start, this.#end)
  }

  /** Sees to it that the row is held, and that there is room behind it. */
  #startOf(row: Buffer | undefined, more: number, memory: Buffer): number {
    const isHeld = row?.buffer === memory.buffer && row.byteOffset + row.length === this.#end
    if (row && isHeld && this.#end + more <= memory.length) return row.byteOffset
    row?.copy(memory)
    this.#end = row?.length ?? 0
    return 0
  }
}
