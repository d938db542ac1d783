import type { Digest } from '../../oci/digest.ts'

/** An index from digests to keys. Most digests have one key, which is kept without a set around it. */
export class KeysByDigest {
  readonly #keys = new Map<Digest, string | Set<string>>()

  /** A copy: it does not change when keys are deleted. */
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
