/** Keys of so many things are remembered; beyond, all are made anew. */
const most = 10_000

/**
 * Keys that are made of a repository and something in it, made once: a string that is put together anew has to be
 * hashed anew, and that takes longer than looking it up.
 */
export class MadeKeys {
  readonly #make: (repository: string, item: string) => string
  readonly #keys = new Map<string, Map<string, string>>()
  #count = 0

  constructor(make: (repository: string, item: string) => string) {
    this.#make = make
  }

  of(repository: string, item: string): string {
    return this.#keys.get(repository)?.get(item) ?? this.#add(repository, item)
  }

  get size(): number {
    return this.#count
  }

  #add(repository: string, item: string): string {
    if (this.#count >= most) {
      this.#keys.clear()
      this.#count = 0
    }
    const key = this.#make(repository, item)
    const keys = this.#keys.get(repository) ?? new Map<string, string>()
    keys.set(item, key)
    this.#keys.set(repository, keys)
    this.#count += 1
    return key
  }
}
