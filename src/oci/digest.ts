import { createHash, type Hash } from 'node:crypto'

declare const brand: unique symbol

/** A content address such as `sha256:9f86…`; only `parseDigest` and `digestOf` make one (image-spec, descriptor.md#digests). */
export type Digest = `${Algorithm}:${string}` & { readonly [brand]: 'Digest' }

/** The algorithms registered in the specification. */
export const algorithms = ['sha256', 'sha384', 'sha512'] as const
export type Algorithm = (typeof algorithms)[number]

const hexLength = new Map<string, number>([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
])

/** Undefined unless it is a registered algorithm and lower-case hex of its exact length. */
export function parseDigest(text: string): Digest | undefined {
  const colon = text.indexOf(':')
  const hex = text.slice(colon + 1)
  const known = colon > 0 && hex.length === hexLength.get(text.slice(0, colon))
  return known && /^[0-9a-f]+$/.test(hex) ? (text as Digest) : undefined
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.slice(0, digest.indexOf(':')) as Algorithm
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** A hash by the algorithm of `digest`. */
export function hasherFor(digest: Digest): Hash {
  return createHash(algorithmOf(digest))
}

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest
}
