import type { Digest } from '../../oci/digest.ts'

/** Keys under the digest they have to do with. Most digests have one, which so takes no set of its own. */
export class KeysByDigest {
  readonly #keys = new Map<Digest, string | Set<string>>()

  /** Stays as it is while keys are deleted. */
  of(digest: Digest): readonly string[] {
    const known = this.#keys.get(digest) ?? []
    return typeof known === 'string' ? [known] : [...known]
  }

  add(digest: Digest, key: string): void {
    const known = this.#keys.get(digest)
    if (known === undefined) this.#keys.set(digest, key)
    else if (known instanceof Set) known.add(key)
    else if (known !== key) this.#keys.set(digest, new Set([known, key]))
  }

  delete(digest: Digest, key: string): void {
    const known = this.#keys.get(digest)
    if (known instanceof Set) known.delete(key)
    if (known === key || (known instanceof Set && known.size === 0)) this.#keys.delete(digest)
  }
}
