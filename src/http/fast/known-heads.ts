export interface KnownHeadsBound {
  readonly entries: number
  /** An estimate of the memory taken. */
  readonly bytes: number
}

interface Entry<Value> {
  value: Value
  /** Bytes. */
  size: number
}

/** Bytes of the objects and table slots around an entry. */
const overhead = 1024

/** The part of all the bytes that one entry may take. */
const share = 1 / 32

/**
 * What heads mean, by their text, the least recently wanted forgotten first: in two generations, each within half of the
 * bound. When the younger is full it becomes the older, and the older is gone; what is wanted meanwhile becomes young
 * again. So looking up what is young, which nearly all is, is one look into one map.
 */
export class KnownHeads<Value> {
  readonly #bound: KnownHeadsBound
  #young = new Map<string, Entry<Value>>()
  #old = new Map<string, Entry<Value>>()
  /** Of the young. */
  #bytes = 0

  constructor(bound: KnownHeadsBound) {
    this.#bound = bound
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  has(text: string): boolean {
    return this.#young.has(text) || this.#old.has(text)
  }

  get(text: string): Value | undefined {
    const young = this.#young.get(text)
    if (young) return young.value
    const old = this.#old.get(text)
    if (!old) return undefined
    this.#old.delete(text)
    this.#put(text, old)
    return old.value
  }

  /** `bytes`: what the value takes, besides the head and what else is made of it. A large one is not kept. */
  set(text: string, value: Value, bytes: number): void {
    this.#bytes -= this.#young.get(text)?.size ?? 0
    this.#young.delete(text)
    this.#old.delete(text)
    this.#put(text, { value, size: 2 * text.length + bytes + overhead })
  }

  #put(text: string, entry: Entry<Value>): void {
    const { entries, bytes } = this.#bound
    if (entry.size > bytes * share) return
    if (this.#young.size >= entries / 2 || this.#bytes + entry.size > bytes / 2) {
      this.#old = this.#young
      this.#young = new Map()
      this.#bytes = 0
    }
    this.#young.set(text, entry)
    this.#bytes += entry.size
  }
}
