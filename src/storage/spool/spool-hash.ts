import type { Hash } from 'node:crypto'
import { algorithmOf, type Digest, hasherFor } from '../../oci/digest.ts'
import type { SharedFile } from '../file.ts'
import type { HashJob, HashPool } from './hash-pool.ts'

/** Bytes from which on a thread hashes; fewer are read and hashed in the time that it takes to ask one. */
const largeFrom = 1024 * 1024
const bufferSize = 256 * 1024

/**
 * The digest of a growing file, by reading it. A large one is hashed by a thread while it grows. A small one, and every one
 * whose thread has died or never ran, is read by the event loop when the digest is asked for.
 */
export class SpoolHash {
  readonly #file: SharedFile
  readonly #digest: Digest
  readonly #threads: HashPool | undefined
  #job: HashJob | undefined

  /** The file stays open until this is closed. */
  constructor(file: SharedFile, digest: Digest, threads: HashPool | undefined) {
    this.#file = file
    this.#digest = digest
    this.#threads = threads
  }

  /** The file has so many bytes now. */
  advance(end: number): void {
    if (end >= largeFrom) this.#job ??= this.#threads?.open(this.#file.fd, algorithmOf(this.#digest))
    this.#job?.advance(end)
  }

  /** Of the file's first `end` bytes, in hex. Rejects where the file cannot be read. */
  async digest(end: number): Promise<string> {
    const byThread = await this.#job?.digest(end).catch(() => undefined)
    return byThread ?? (await this.read(end)).digest('hex')
  }

  /** A hash of the file's first `end` bytes, to go on with. Rejects where the file cannot be read. */
  async read(end: number): Promise<Hash> {
    const hash = hasherFor(this.#digest)
    const buffer = Buffer.allocUnsafeSlow(Math.min(bufferSize, end))
    for (let at = 0; at < end; ) {
      const bytes = await this.#file.read(buffer, Math.min(buffer.length, end - at), at)
      if (bytes === 0) throw new RangeError(`the file ended at ${at}, before ${end}`)
      hash.update(buffer.subarray(0, bytes))
      at += bytes
    }
    return hash
  }

  /** Resolves when nobody reads the file for this any more. */
  async close(): Promise<void> {
    await this.#job?.close()
  }
}
