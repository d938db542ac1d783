import { type BodyReader, ReaderClosed } from './blob-store.ts'
import type { SharedFile } from './file.ts'

const readSize = 128 * 1024

/** What a follower brings to a read of what it follows. */
export interface Footing {
  /** The buffer for bytes that have to come from the disk. */
  readonly into: () => Buffer
  /** Resolves when one of the callbacks in the set is called; rejects when the follower is closed. */
  readonly wait: (waiting: Set<() => void>) => Promise<void>
}

/** Content that grows while it is read. */
export interface Followed {
  /** Undefined at the clean end, or beyond `end`; rejects with why there is no more. */
  next(offset: number, end: number | undefined, footing: Footing): Promise<Buffer | undefined>
}

/** One reading of growing content, from its own offset, at its own pace. Holds the content's file open until closed. */
export class Follower implements BodyReader, Footing {
  readonly #content: Followed
  readonly #file: SharedFile
  readonly #end: number | undefined
  #offset: number
  #buffer: Buffer | undefined
  #reading: Promise<Buffer | undefined> | undefined
  #cancel: (() => void) | undefined
  #closed = false

  /** Takes over one share of `file`. */
  constructor(content: Followed, file: SharedFile, { start, end }: { start: number; end: number | undefined }) {
    this.#content = content
    this.#file = file
    this.#offset = start
    this.#end = end
  }

  async read(): Promise<Buffer | undefined> {
    if (this.#closed) throw new ReaderClosed()
    this.#reading = this.#content.next(this.#offset, this.#end, this)
    try {
      const bytes = await this.#reading
      this.#offset += bytes?.length ?? 0
      return bytes
    } finally {
      this.#reading = undefined
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#cancel?.()
    await this.#reading?.catch(() => undefined)
    await this.#file.release()
  }

  readonly into = (): Buffer => (this.#buffer ??= Buffer.allocUnsafeSlow(readSize))

  readonly wait = (waiting: Set<() => void>): Promise<void> =>
    new Promise((resolve, reject) => {
      // Closed between being woken and looking: nobody would wake it again.
      if (this.#closed) return reject(new ReaderClosed())
      const resume = (): void => {
        this.#cancel = undefined
        resolve()
      }
      this.#cancel = () => {
        waiting.delete(resume)
        reject(new ReaderClosed())
      }
      waiting.add(resume)
    })
}
