import { createCipheriv, createHash } from 'node:crypto'
import { type Digest, digestOf, parseDigest } from '../../src/oci/digest.ts'

/** Content of known size, read in slices; not necessarily held in memory. */
export interface Bytes {
  readonly size: number
  /** The bytes from `start` to before `end`. */
  slice(start: number, end: number): Buffer
}

export const sliceSize = 65536

const block = 16
const zeros = Buffer.alloc(sliceSize + 2 * block)

export function bytesOf(buffer: Buffer): Bytes {
  return { size: buffer.length, slice: (start, end) => buffer.subarray(start, end) }
}

/** Deterministic noise, made by offset: a gigabyte costs no memory. The same seed gives the same stream at any size. */
export function synthetic(size: number, seed: number): Bytes {
  const key = createHash('sha256').update(`synthetic ${seed}`).digest().subarray(0, block)
  return { size, slice: (start, end) => keystream(key, start, end) }
}

/** Reads all of it once. */
export function digestOfBytes(bytes: Bytes): Digest {
  const hash = createHash('sha256')
  for (let start = 0; start < bytes.size; start += sliceSize) {
    hash.update(bytes.slice(start, Math.min(start + sliceSize, bytes.size)))
  }
  return parseDigest(`sha256:${hash.digest('hex')}`) ?? digestOf(Buffer.alloc(0))
}

export function allOf(bytes: Bytes): Buffer {
  return bytes.slice(0, bytes.size)
}

function keystream(key: Buffer, start: number, end: number): Buffer {
  const skipped = start % block
  const counter = Buffer.alloc(block)
  counter.writeBigUInt64BE(BigInt(Math.floor(start / block)), 8)
  const length = skipped + end - start
  const plain = length <= zeros.length ? zeros.subarray(0, length) : Buffer.alloc(length)
  return createCipheriv('aes-128-ctr', key, counter).update(plain).subarray(skipped)
}
