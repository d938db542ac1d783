import { algorithmOf, algorithms, type Digest, hexOf, parseDigest } from '../../oci/digest.ts'

/** How many ids a digest may have: so many digests can begin alike. */
export const idsOfDigest = 16

/** The first byte is the algorithm's, and the digest's own bytes follow. Such bytes sort as digests do. */
export function bytesOfDigest(digest: Digest): Buffer {
  return Buffer.from(`0${algorithms.indexOf(algorithmOf(digest))}${hexOf(digest)}`, 'hex')
}

/** Undefined for bytes that are no digest's. */
export function digestOfBytes(bytes: unknown): Digest | undefined {
  if (!(bytes instanceof Uint8Array)) return undefined
  const algorithm = algorithms[bytes[0] ?? -1]
  return (
    algorithm &&
    parseDigest(`${algorithm}:${Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.length - 1).toString('hex')}`)
  )
}

/**
 * The id of a digest, if no other digest that begins alike has it: two bits of algorithm, 61 bits of digest. So ids sort
 * as digests do.
 */
export function firstIdOf(digest: Digest): bigint {
  const start = BigInt(`0x${hexOf(digest).slice(0, 16)}`) >> 3n
  return (BigInt(algorithms.indexOf(algorithmOf(digest))) << 61n) | start
}
