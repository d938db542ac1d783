import assert from 'node:assert/strict'
import { Ring } from '../../src/storage/spool/ring.ts'

/** Bytes of the memories that there are, and how many large ones, as a process finds them that has no ring open. */
export const { sizes, mostLarge } = measure()

function measure() {
  const rings = [new Ring()]
  const large = sizeOf(rings[0] as Ring)
  let small = large
  while (small === large) {
    assert.ok(rings.length < 100, 'all memories are of one size')
    const ring = new Ring()
    rings.push(ring)
    small = sizeOf(ring)
  }
  for (const ring of rings) ring.close()
  return { sizes: { large, small }, mostLarge: rings.length - 1 }
}

function sizeOf(ring: Ring): number {
  return ring.memory.bytes.byteLength
}

/** Rings of one kind of memory, of which there are few large ones in a process, and small ones where none of those is left. */
export class Rings {
  readonly #open: Ring[] = []
  readonly #inTheWay: Ring[] = []
  readonly #size: number

  constructor(kind: 'large' | 'small') {
    this.#size = sizes[kind]
  }

  /** A new one, which `close` closes. */
  take(start?: number): Ring {
    for (;;) {
      const ring = new Ring(start)
      if (sizeOf(ring) === this.#size) {
        this.#open.push(ring)
        return ring
      }
      assert.ok(sizeOf(ring) > this.#size, 'no large memory is left')
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
