import type { Algorithm } from '../oci/digest.ts'
import { Crew, Thread, type ThreadDied } from './thread.ts'

/**
 * To the thread, of an open file, which goes by its descriptor: that it has `size` bytes by now; bytes that come after
 * them; that its digest is wanted; that it is not to be touched any more.
 */
export type WriteRequest = { readonly id: number; readonly file: number } & (
  | { readonly kind: 'open'; readonly algorithm: Algorithm; readonly size: number }
  | { readonly kind: 'append'; readonly bytes: Uint8Array }
  | { readonly kind: 'digest' }
  | { readonly kind: 'close' }
)

/** From the thread: how many bytes were written, the digest in hex, or what went wrong, as the system says it. */
export interface WriteAnswer {
  readonly id: number
  readonly written?: number
  readonly digest?: string
  readonly error?: { readonly message: string; readonly code: string | undefined }
}

/** A file that a thread writes, and hashes on the way. One call at a time. */
export interface WrittenFile {
  /**
   * Appends bytes, which must not change meanwhile. Resolves to how many of them were written, at least one; rejects with
   * the system's error, or ThreadDied.
   */
  append(bytes: Buffer): Promise<number>
  /** Of what there was and what was appended, in hex. Rejects with ThreadDied, or where what there was cannot be read. */
  digest(): Promise<string>
  /** The thread lets go of it; the descriptor stays its owner's. */
  close(): void
}

/**
 * Threads that write what was received and hash it while it is at hand, so that the event loop has its hands free, and
 * each byte is touched once.
 */
export class Writing implements AsyncDisposable {
  readonly #threads: Crew<Thread<WriteRequest, WriteAnswer>>
  #count = 0

  constructor(onDeath?: (error: ThreadDied) => void) {
    this.#threads = new Crew({ start: (died) => new Thread({ name: 'write-thread', onDeath: died }), onDeath })
  }

  /** A file that has `size` bytes, which are hashed too. Undefined where there is no thread for it, or not yet. */
  open(file: number, algorithm: Algorithm, size: number): WrittenFile | undefined {
    const thread = this.#threads.idlest()
    if (!thread) return undefined
    const ask = async (request: WriteRequest): Promise<WriteAnswer> => {
      const answer = await thread.ask(request)
      const { error } = answer
      if (error) throw Object.assign(new Error(error.message), { code: error.code })
      return answer
    }
    thread.tell({ kind: 'open', id: this.#next(), file, algorithm, size })
    return {
      append: async (bytes) =>
        (await ask({ kind: 'append', id: this.#next(), file, bytes: shared(bytes) })).written ?? 0,
      digest: async () => (await ask({ kind: 'digest', id: this.#next(), file })).digest ?? '',
      close: () => thread.tell({ kind: 'close', id: this.#next(), file }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]()
  }

  #next(): number {
    this.#count += 1
    return this.#count
  }
}

/** As the thread can see them: in memory that is shared, or else a copy. */
function shared({ buffer, byteOffset, length }: Buffer): Uint8Array {
  const bytes = new Uint8Array(buffer, byteOffset, length)
  return buffer instanceof SharedArrayBuffer ? bytes : bytes.slice()
}
