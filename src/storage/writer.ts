import type { Hash } from 'node:crypto'
import { algorithmOf, type Digest, hasherFor } from '../oci/digest.ts'
import type { BodyReader } from './blob-store.ts'
import type { SharedFile } from './file.ts'
import { ThreadDied } from './thread.ts'
import type { Writing, WrittenFile } from './writing.ts'

/** What is not worth a thread's trouble, in bytes; and what is too much for it to read back, where it comes late. */
const small = 1024 * 1024
const late = 64 * 1024 * 1024

/** Writes a growing file and hashes it on the way: a small one here and now, a large one by a thread. */
export class Writer {
  readonly #file: SharedFile
  readonly #writing: Writing | undefined
  #digest: Digest | undefined
  #here: Hash | undefined
  #there: WrittenFile | undefined
  #busy: Promise<unknown> | undefined

  constructor(file: SharedFile, writing: Writing | undefined) {
    this.#file = file
    this.#writing = writing
  }

  /** Wants what comes hashed, to be compared with `digest`. Before anything is written. */
  hashFor(digest: Digest): void {
    this.#digest = digest
    this.#here = hasherFor(digest)
  }

  /** Appends to a file that has `position` bytes, and is expected to have `size`. Resolves to the bytes written, at least one. */
  async append(bytes: Buffer, where: { position: number; size: number | undefined }): Promise<number> {
    const busy = this.#append(bytes, where)
    this.#busy = busy.catch(() => undefined)
    return await busy
  }

  /** Of all that was written, in hex. Rejects where it is not to be had but by reading. */
  async digest(): Promise<string> {
    if (this.#there) return await this.#there.digest()
    if (this.#here) return this.#here.copy().digest('hex')
    throw new Error('the thread that hashed has died')
  }

  /** A hash of `all`, which is what was written and `more`, by reading it where need be. Closes the reader. */
  async soFar(all: BodyReader, more: Buffer | undefined): Promise<Hash> {
    try {
      if (this.#here) return more ? this.#here.copy().update(more) : this.#here.copy()
      const hash = hasherFor(this.#digest as Digest)
      for (let chunk = await all.read(); chunk; chunk = await all.read()) hash.update(chunk)
      return hash
    } finally {
      await all.close()
    }
  }

  /** Resolves when nobody touches the file any more. */
  async close(): Promise<void> {
    await this.#busy
    this.#there?.close()
    this.#there = undefined
  }

  async #append(
    bytes: Buffer,
    { position, size = 0 }: { position: number; size: number | undefined },
  ): Promise<number> {
    this.#there ??= this.#thread(position, Math.max(position + bytes.length, size))
    try {
      if (this.#there) return await this.#there.append(bytes)
    } catch (error) {
      if (!(error instanceof ThreadDied)) throw error
      // Whatever it has written is written again; the hash is made again when it is asked for.
      this.#there = undefined
    }
    const written = await this.#file.write(bytes, position)
    this.#here?.update(bytes.subarray(0, written))
    return written
  }

  #thread(position: number, size: number): WrittenFile | undefined {
    if (!this.#here || !this.#digest || size <= small || position > late) return undefined
    const there = this.#writing?.open(this.#file.fd, algorithmOf(this.#digest), position)
    if (there) this.#here = undefined
    return there
  }
}
