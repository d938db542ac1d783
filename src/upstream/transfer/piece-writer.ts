import { writeSync } from 'node:fs'
import { BodyTooLong } from './response-body.ts'

/**
 * What of a file is best written by one call, in bytes: then the kernel can keep it as one, where the file system lets it,
 * and sends it from there at less cost than page by page.
 */
export const pieceSize = 128 * 1024

/** Where a body goes, and which part of it. */
export interface PieceTarget {
  readonly descriptor: number
  /** Where in the file the first byte goes. */
  readonly offset: number
  /** Bytes at the body's start that are not wanted. */
  readonly skip: number
  /** Bytes that are wanted at most. */
  readonly most: number | undefined
}

/**
 * Writes a body into a file, in pieces that end at multiples of 128 KiB, and waits for the disk. Where the system refuses,
 * its error is thrown and nothing is lost: the next call goes on.
 */
export class PieceWriter {
  readonly #target: PieceTarget
  readonly #piece = Buffer.allocUnsafeSlow(pieceSize)
  /** In the piece: where the bytes begin that are not written yet, and where they end. */
  #from = 0
  #to = 0
  #toSkip: number
  /** Bytes that may still come. */
  #left: number
  #written = 0
  /** What did not fit into the piece before the system refused it. */
  #rest: Buffer | undefined

  constructor(target: PieceTarget) {
    this.#target = target
    this.#toSkip = target.skip
    this.#left = target.most ?? Number.POSITIVE_INFINITY
  }

  /** Bytes that the file has. */
  get written(): number {
    return this.#written
  }

  /** The chunk is the caller's again, unless this throws. Throws BodyTooLong, too. */
  add(chunk: Buffer): void {
    const wanted = chunk.subarray(this.#toSkip)
    this.#toSkip -= chunk.length - wanted.length
    this.#left -= wanted.length
    if (this.#left < 0) throw new BodyTooLong()
    this.#rest = wanted
    this.#work()
    // Whoever waits for the first bytes need not wait for a piece.
    if (this.#written === 0) this.flush()
  }

  /** Writes what there is, a whole piece or not. */
  flush(): void {
    this.#work()
    this.#write()
  }

  #work(): void {
    while (this.#rest && this.#rest.length > 0) {
      if (this.#room === 0) this.#write()
      const copied = this.#rest.copy(this.#piece, this.#to, 0, this.#room)
      this.#to += copied
      this.#rest = this.#rest.subarray(copied)
    }
    this.#rest = undefined
    if (this.#room === 0) this.#write()
  }

  /** Bytes that the piece still takes: it ends where a piece of the file does. */
  get #room(): number {
    const position = this.#target.offset + this.#written - this.#from
    return Math.min(pieceSize, pieceSize - (position % pieceSize)) - this.#to
  }

  #write(): void {
    while (this.#from < this.#to) {
      const { descriptor, offset } = this.#target
      const bytes = writeSync(descriptor, this.#piece, this.#from, this.#to - this.#from, offset + this.#written)
      this.#from += bytes
      this.#written += bytes
    }
    this.#from = 0
    this.#to = 0
  }
}
