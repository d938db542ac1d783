import { createHash } from 'node:crypto'

/**
 * Numbers that follow from a text alone. `fork` gives an independent source, so that what one part draws does not
 * change what another part draws, in whatever order they run.
 */
export class Random {
  readonly #label: string
  #state: [number, number, number, number]

  constructor(label: string) {
    this.#label = label
    const seed = createHash('sha256').update(label).digest()
    this.#state = [seed.readUInt32LE(0), seed.readUInt32LE(4), seed.readUInt32LE(8), seed.readUInt32LE(12)]
  }

  fork(label: string | number): Random {
    return new Random(`${this.#label}/${label}`)
  }

  /** At least 0, below 1. The generator is sfc32. */
  next(): number {
    const [a, b, c, counter] = this.#state
    const sum = (a + b + counter) | 0
    this.#state = [b ^ (b >>> 9), (c + (c << 3)) | 0, (((c << 21) | (c >>> 11)) + sum) | 0, (counter + 1) | 0]
    return (sum >>> 0) / 2 ** 32
  }

  /** A whole number, at least `from`, at most `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** The list must not be empty. */
  pick<T>(list: readonly T[]): T {
    const picked = list[this.between(0, list.length - 1)]
    if (picked === undefined) throw new RangeError('nothing to pick from')
    return picked
  }

  /** By weight; a weight of 0 is never picked. */
  weighted<T extends string>(weights: Readonly<Partial<Record<T, number>>>): T {
    const entries = Object.entries(weights) as [T, number][]
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) {
      left -= weight
      if (left < 0) return name
    }
    return this.pick(entries)[0]
  }
}
