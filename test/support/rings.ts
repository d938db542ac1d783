import assert from 'node:assert/strict'
import { Ring } from '../../src/storage/ring.ts'

/** Rings of one kind of memory, of which there are few large ones in a process, and small ones where none of those is left. */
export class Rings {
  readonly #open: Ring[] = []
  readonly #inTheWay: Ring[] = []
  readonly #size: number

  constructor(kind: 'large' | 'small') {
    this.#size = (kind === 'large' ? 8 : 2) * 128 * 1024
  }

  /** A new one, which `close` closes. */
  take(): Ring {
    for (;;) {
      const ring = new Ring()
      const { byteLength } = ring.memory.bytes
      if (byteLength === this.#size) {
        this.#open.push(ring)
        return ring
      }
      assert.ok(byteLength > this.#size, 'no large memory is left')
      this.#inTheWay.push(ring)
    }
  }

  /** Closes one now. */
  giveBack(ring: Ring): void {
    this.#open.splice(this.#open.indexOf(ring), 1)
    ring.close()
  }

  close(): void {
    for (const ring of this.#open.splice(0)) ring.close()
    for (const ring of this.#inTheWay.splice(0)) ring.close()
  }
}
