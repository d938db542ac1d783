import { UpstreamError } from '../../oci/error.ts'
import { ThreadDied } from '../../threads/thread.ts'
import type { BodyFile } from '../upstream.ts'
import type { Attempts } from './attempts.ts'
import { BodyTooLong, type ResponseBody } from './response-body.ts'

/** The rest of a blob, from some offset to its end, into a file, over as many attempts as it takes. Once. */
export class BlobDownload {
  readonly #attempts: Attempts<ResponseBody>

  constructor(attempts: Attempts<ResponseBody>) {
    this.#attempts = attempts
  }

  async *into(file: BodyFile): AsyncGenerator<number, undefined> {
    const attempts = this.#attempts
    try {
      for (;;) {
        attempts.signal.throwIfAborted()
        const end = yield* this.#receive(file)
        if (attempts.isComplete || (end === undefined && !attempts.isMeasured)) return
        await attempts.resume(end?.failure)
      }
    } finally {
      this.close()
    }
  }

  close(): void {
    this.#attempts.close()
  }

  /** One attempt. Returns why it failed, where another may go on; undefined where the body ended. */
  async *#receive(file: BodyFile): AsyncGenerator<number, { failure: unknown } | undefined> {
    const attempts = this.#attempts
    const { body, skip } = attempts.current
    const rest = { ...file, offset: file.offset + attempts.received }
    try {
      for await (const bytes of body.into(rest, { skip, most: attempts.left })) {
        attempts.advance(bytes)
        yield bytes
      }
      return undefined
    } catch (failure) {
      attempts.signal.throwIfAborted()
      if (failure instanceof BodyTooLong) throw attempts.tooLong()
      if (failure instanceof UpstreamError || failure instanceof ThreadDied) return { failure }
      throw failure
    }
  }
}
