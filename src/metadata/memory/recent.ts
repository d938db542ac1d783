import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import { KeysByDigest } from './keys-by-digest.ts'

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

/** Things lately known that have to do with a digest, the least recently wanted forgotten first. */
export class Recent<Value extends { readonly digest: Digest }> {
  readonly #entries: LRUCache<string, Known<Value>>
  readonly #keys = new KeysByDigest()

  constructor({ entries, bytes }: Bound) {
    this.#entries = new LRUCache<string, Known<Value>>({
      max: entries,
      maxSize: bytes,
      sizeCalculation: footprint,
      dispose: ({ value }, key) => this.#keys.delete(value.digest, key),
    })
  }

  get(key: string): Known<Value> | undefined {
    return this.#entries.get(key)
  }

  set(key: string, value: Value, state: 'settled' | 'unsettled'): Known<Value> {
    const known = { value, settled: state === 'settled' }
    this.#entries.set(key, known)
    // One that is larger than all of the memory is not kept.
    if (this.#entries.has(key)) this.#keys.add(value.digest, key)
    return known
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  /** Everything that has to do with a digest. */
  deleteDigest(digest: Digest): void {
    for (const key of this.#keys.of(digest)) this.#entries.delete(key)
  }

  /** Everything whose key begins so, by going through all. */
  deleteBeginning(beginning: string): void {
    const keys = [...this.#entries.keys()].filter((key) => key.startsWith(beginning))
    for (const key of keys) this.#entries.delete(key)
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
