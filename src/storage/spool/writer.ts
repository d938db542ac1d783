import type { Hash } from 'node:crypto'
import { algorithmOf, type Digest, hasherFor } from '../../oci/digest.ts'
import { ThreadDied } from '../../threads/thread.ts'
import type { BodyReader } from '../body-reader.ts'
import type { SharedFile } from '../file.ts'
import type { SuppliedRing } from './supplied-ring.ts'
import type { Writing, WrittenFile } from './writing.ts'

/** What is not worth a thread's trouble, in bytes; and what is too much for it to read back, where it comes late. */
const small = 1024 * 1024
const late = 64 * 1024 * 1024

const nothing = Buffer.alloc(0)
const done = Promise.resolve()

/**
 * Writes a growing file and hashes it on the way: a small one here and now, a large one by a thread. One call at a time.
 * Where the system refuses, its error is thrown, nothing more is written, and what was appended is kept, as `rest`:
 * `retry` and `flush` go on with it.
 */
export class Writer {
  readonly #file: SharedFile
  readonly #writing: Writing | undefined
  #digest: Digest | undefined
  #expected = 0
  #here: Hash | undefined
  #there: WrittenFile | undefined
  /** Whether it died, and the event loop does its work. */
  #isAlone = false
  /** Bytes of the file, unless a thread writes it. */
  #written = 0
  /** Appended, and neither written nor with the thread. */
  #pending: Buffer = nothing
  /** What a thread that has died did not write of what it had. */
  #left: Buffer = nothing
  #isRefused = false
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

  /** Tells how many bytes will come. */
  expect(size: number): void {
    this.#expected = size
  }

  /** Bytes that the file has. */
  get written(): number {
    return this.#thread?.written ?? this.#written
  }

  /** Where what comes is best received; undefined where that is no help, or not yet. */
  get memory(): SuppliedRing | undefined {
    this.#open(0)
    return this.#thread?.memory
  }

  /** Takes note of bytes that have come to the thread by themselves. Resolves when more can come. */
  passed(): Promise<void> {
    const thread = this.#thread
    const isWell = !thread || (!thread.isTroubled && (thread.isReceiving || thread.memory.hasRoom))
    return isWell ? done : this.#oneByOne(() => this.#settle())
  }

  /** Appends bytes. Resolves when there is room for more; the bytes are the caller's again. */
  append(bytes: Buffer): Promise<void> {
    this.#open(bytes.length)
    this.#pending = bytes
    return this.#isTaken() ? done : this.#oneByOne(() => this.#settle())
  }

  /** Goes on where the system refused. Resolves when there is room for more. */
  async retry(): Promise<void> {
    await this.#oneByOne(() => this.#settle())
  }

  /** Resolves when all is in the file. */
  async flush(): Promise<void> {
    await this.#oneByOne(async () => {
      await this.#settle()
      await this.#byThread((thread) => thread.flush())
    })
  }

  /** Of all that was written, in hex. After `flush`. Rejects where it is not to be had but by reading. */
  async digest(): Promise<string> {
    if (this.#thread) return await this.#thread.digest()
    if (this.#here) return this.#here.copy().digest('hex')
    throw new Error('the thread that hashed has died')
  }

  /** What was appended and not written. */
  rest(): Buffer {
    return Buffer.concat([this.#thread?.rest() ?? this.#left, this.#pending])
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

  /** Resolves when nobody touches the file any more, nor the memory. */
  async close(): Promise<void> {
    await this.#busy
    await this.#there?.close()
  }

  /** The thread's file, as long as it is the thread's. */
  get #thread(): WrittenFile | undefined {
    return this.#isAlone ? undefined : this.#there
  }

  /** Passes the file on to a thread, if there is one and it is worth it: `more` bytes are about to be written. */
  #open(more: number): void {
    const size = Math.max(this.#written + more, this.#expected)
    if (this.#there || !this.#here || !this.#digest || size <= small || this.#written > late) return
    this.#there = this.#writing?.open(this.#file.fd, algorithmOf(this.#digest), this.#written)
    if (this.#there) this.#here = undefined
  }

  /** Whether the thread has taken what was pending, at once, and would take more. */
  #isTaken(): boolean {
    const thread = this.#thread
    if (!thread || this.#isRefused) return false
    this.#pending = this.#pending.subarray(thread.put(this.#pending))
    return this.#pending.length === 0 && thread.memory.hasRoom
  }

  /** Sees to it that nothing is pending. */
  async #settle(): Promise<void> {
    await this.#byThread((thread) => this.#pass(thread))
    while (this.#left.length > 0) this.#left = this.#left.subarray(await this.#write(this.#left))
    while (this.#pending.length > 0) {
      const written = await this.#write(this.#pending)
      // They may be in the thread's memory, which goes on being used.
      this.#there?.memory.skip(this.#pending.subarray(0, written))
      this.#pending = this.#pending.subarray(written)
    }
  }

  async #write(bytes: Buffer): Promise<number> {
    const written = await this.#file.write(bytes, this.#written)
    this.#here?.update(bytes.subarray(0, written))
    this.#written += written
    return written
  }

  async #pass(thread: WrittenFile): Promise<void> {
    for (;;) {
      await thread.room()
      if (this.#pending.length === 0) return
      this.#pending = this.#pending.subarray(thread.put(this.#pending))
    }
  }

  /** Where it has died, its work is done here from then on: what it may have written is written again, the hash made anew. */
  async #byThread(work: (thread: WrittenFile) => Promise<void>): Promise<void> {
    const thread = this.#thread
    if (!thread) return
    try {
      if (this.#isRefused) await thread.retry()
      this.#isRefused = false
      await work(thread)
    } catch (error) {
      this.#isRefused = !(error instanceof ThreadDied)
      if (this.#isRefused) throw error
      this.#left = thread.rest()
      this.#written = thread.written
      this.#isAlone = true
      thread.memory.drain()
      await this.#settle()
    }
  }

  async #oneByOne(work: () => Promise<void>): Promise<void> {
    const busy = work()
    this.#busy = busy.catch(() => undefined)
    await busy
  }
}
