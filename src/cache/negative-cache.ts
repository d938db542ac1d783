import { LRUCache } from 'lru-cache'
import type { RegistryError } from '../oci/error.ts'

/** The error that a client gets for an absent tag: its code, and why where that is known. */
type Absence = Pick<RegistryError, 'code' | 'detail'>

/**
 * Tags that clients derive from digests and ask of every image, mostly in vain: cosign's signatures, attestations and
 * SBOMs (`sha256-<hex>.sig`), and the referrers fallback (`sha256-<hex>`).
 */
const derivedTag = /^sha(256|384|512)-[0-9a-f]{64,128}(\.[a-z0-9]+)?$/
const derivedFor = 60_000
const otherFor = 5_000

/** Tags that an upstream does not have, and the code it said so with. An entry counts for seconds only. */
export class NegativeCache {
  readonly #known: LRUCache<string, { readonly absence: Absence; readonly until: number }>
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
    this.#known = new LRUCache({ max: 10_000 })
  }

  /** Undefined where nothing is known. */
  get(repository: string, reference: string): Absence | undefined {
    const known = this.#known.get(`${repository}:${reference}`)
    return known && known.until > this.#now() ? known.absence : undefined
  }

  add(repository: string, reference: string, { code, detail }: Absence): void {
    const until = this.#now() + (derivedTag.test(reference) ? derivedFor : otherFor)
    this.#known.set(`${repository}:${reference}`, { absence: { code, detail }, until })
  }

  delete(repository: string, reference: string): void {
    this.#known.delete(`${repository}:${reference}`)
  }
}
