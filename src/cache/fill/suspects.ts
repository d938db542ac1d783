import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'

/** What a whole download of a blob turned out to be, once its digest was known. */
export type Verdict = 'verified' | 'mismatch'

/**
 * Digests whose last download brought other bytes. Until one verifies, a range of them could complete a wrong body: the
 * client whose body was cut at its last byte would ask for just that byte.
 */
export class Suspects {
  readonly #digests = new LRUCache<Digest, true>({ max: 10_000 })

  has(digest: Digest): boolean {
    return this.#digests.has(digest)
  }

  judge(digest: Digest, verdict: Verdict): void {
    if (verdict === 'mismatch') this.#digests.set(digest, true)
    else this.#digests.delete(digest)
  }
}
