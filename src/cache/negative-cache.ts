import { LRUCache } from 'lru-cache'
import type { ErrorCode } from '../oci/error.ts'

/**
 * Tags that clients derive from digests and ask of every image, mostly in vain: cosign's signatures, attestations and
 * SBOMs (`sha256-<hex>.sig`), and the referrers fallback (`sha256-<hex>`).
 */
const derivedTag = /^sha(256|384|512)-[0-9a-f]{64,128}(\.[a-z0-9]+)?$/
const derivedFor = 60_000
const otherFor = 5_000

/** Tags that an upstream does not have, and the code it said so with. An entry counts for seconds only. */
export class NegativeCache {
  readonly #known: LRUCache<string, { readonly code: ErrorCode; readonly until: number }>
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
    this.#known = new LRUCache({ max: 10_000 })
  }

  /** The code of the error; undefined where nothing is known. */
  get(repository: string, reference: string): ErrorCode | undefined {
    const known = this.#known.get(`${repository}:${reference}`)
    return known && known.until > this.#now() ? known.code : undefined
  }

  add(repository: string, reference: string, code: ErrorCode): void {
    const until = this.#now() + (derivedTag.test(reference) ? derivedFor : otherFor)
    this.#known.set(`${repository}:${reference}`, { code, until })
  }

  delete(repository: string, reference: string): void {
    this.#known.delete(`${repository}:${reference}`)
  }
}
