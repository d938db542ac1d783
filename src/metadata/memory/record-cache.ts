import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import { KeysByDigest } from './keys-by-digest.ts'

export interface CacheBound {
  readonly entries: number
  /** An estimate of the memory used. */
  readonly bytes: number
}

/** A record, and whether the store behind has confirmed it by a read or a finished write. */
export interface CachedRecord<Value> {
  readonly value: Value
  readonly confirmed: boolean
}

/** A bounded LRU cache of records that name a digest. They can also be deleted by that digest. */
export class RecordCache<Value extends { readonly digest: Digest }> {
  readonly #records: LRUCache<string, CachedRecord<Value>>
  readonly #keys = new KeysByDigest()

  constructor({ entries, bytes }: CacheBound) {
    this.#records = new LRUCache<string, CachedRecord<Value>>({
      max: entries,
      maxSize: bytes,
      sizeCalculation: footprint,
      dispose: ({ value }, key) => this.#keys.delete(value.digest, key),
    })
  }

  get(key: string): CachedRecord<Value> | undefined {
    return this.#records.get(key)
  }

  set(key: string, value: Value, state: 'confirmed' | 'unconfirmed'): CachedRecord<Value> {
    const record = { value, confirmed: state === 'confirmed' }
    this.#records.set(key, record)
    // A record larger than the whole bound is not kept.
    if (this.#records.has(key)) this.#keys.add(value.digest, key)
    return record
  }

  delete(key: string): void {
    this.#records.delete(key)
  }

  deleteDigest(digest: Digest): void {
    for (const key of this.#keys.of(digest)) this.#records.delete(key)
  }

  /** Scans all keys. */
  deletePrefix(prefix: string): void {
    const keys = [...this.#records.keys()].filter((key) => key.startsWith(prefix))
    for (const key of keys) this.#records.delete(key)
  }
}

/** Bytes of the objects and table slots around a record's strings. */
const overhead = 300

function footprint(record: CachedRecord<object>, key: string): number {
  const strings = Object.values(record.value).filter((field) => typeof field === 'string')
  return strings.reduce((sum, text) => sum + text.length, overhead + key.length)
}
