import type { Hash } from 'node:crypto'
import { algorithmOf, type Digest, hasherFor } from '../oci/digest.ts'
import type { BodyReader } from './blob-store.ts'
import type { FileHash, Hashing } from './hashing.ts'

/** What is not worth a thread's trouble, in bytes. */
const small = 1024 * 1024

/** The hash of a growing file: of a small one here and now, of a large one by a thread that reads it. */
export class RunningHash {
  readonly #digest: Digest
  readonly #path: string
  readonly #hashing: Hashing | undefined
  #here: Hash | undefined
  #there: FileHash | undefined

  constructor(digest: Digest, path: string, hashing: Hashing | undefined) {
    this.#digest = digest
    this.#path = path
    this.#hashing = hashing
    this.#here = hasherFor(digest)
  }

  /** A chunk that was appended: so many bytes are in the file by now, and `size` in all where that is known. */
  append(chunk: Buffer, { inFile, size }: { inFile: number; size: number | undefined }): void {
    if (this.#here && this.#hashing && Math.max(inFile, size ?? 0) > small) {
      this.#there = this.#hashing.follow(this.#path, algorithmOf(this.#digest))
      if (this.#there) this.#here = undefined
    }
    this.#here?.update(chunk)
    this.#there?.advance(inFile)
  }

  /** Of `size` bytes, all of them in the file, in hex. Rejects where it is not to be had from the thread. */
  async digest(size: number): Promise<string> {
    const there = this.#there
    this.#there = undefined
    if (there) return await there.digest(size)
    if (this.#here) return this.#here.copy().digest('hex')
    throw new Error('the digest has been told')
  }

  /** A hash of all that was appended, by reading it again where need be. Closes the reader. */
  async soFar(all: BodyReader): Promise<Hash> {
    try {
      if (this.#here) return this.#here.copy()
      const hash = hasherFor(this.#digest)
      for (let chunk = await all.read(); chunk; chunk = await all.read()) hash.update(chunk)
      return hash
    } finally {
      await all.close()
    }
  }

  /** The thread need not go on. */
  close(): void {
    this.#there?.abandon()
    this.#there = undefined
  }
}
