import { LRUCache } from 'lru-cache'

export interface Bound {
  readonly entries: number
  /** An estimate of the memory taken. */
  readonly bytes: number
}

/** What is known of one thing, and whether the store behind has been heard about it. */
export interface Known<Value> {
  readonly value: Value
  readonly settled: boolean
}

/** Things lately known, the least recently wanted forgotten first. */
export class Recent<Value extends object> {
  readonly #entries: LRUCache<string, Known<Value>>

  constructor({ entries, bytes }: Bound) {
    this.#entries = new LRUCache<string, Known<Value>>({ max: entries, maxSize: bytes, sizeCalculation: footprint })
  }

  get(key: string): Known<Value> | undefined {
    return this.#entries.get(key)
  }

  set(key: string, value: Value, state: 'settled' | 'unsettled'): Known<Value> {
    const known = { value, settled: state === 'settled' }
    this.#entries.set(key, known)
    return known
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  get size(): number {
    return this.#entries.size
  }

  /** Bytes, by the same estimate as the bound. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }
}

/** Bytes of the objects and table slots around the strings of an entry. */
const overhead = 300

function footprint(known: Known<object>, key: string): number {
  const strings = Object.values(known.value).filter((field) => typeof field === 'string')
  return strings.reduce((sum, text) => sum + text.length, overhead + key.length)
}
