import type { Hash } from 'node:crypto'
import { type Digest, hexOf } from '../../oci/digest.ts'
import { ContentMismatch, RegistryError } from '../../oci/error.ts'
import { type BodyReader, type Moved, nothingMoved, ReaderClosed } from '../../storage/body-reader.ts'
import type { BlobSource, BlobSpan } from '../../upstream/upstream.ts'
import { askUpstream } from '../ask-upstream.ts'
import type { Origin } from '../origin.ts'
import type { Verdict } from './suspects.ts'

export interface PassedBodyOptions {
  readonly span: BlobSpan
  /** Bytes of the whole blob, where they are known. */
  readonly size: number | undefined
  /** Where the bytes can be verified at their end: the hash of all that comes before them. */
  readonly hash: Hash | undefined
  /** Milliseconds until headers. */
  readonly answerTimeout: number
  /** Breaks the opening off. */
  readonly signal?: AbortSignal
  readonly received: (bytes: number) => void
  /** Called once, where there is a hash and the body comes to its end. */
  readonly judged: (verdict: Verdict) => void
}

/**
 * Bytes passed from upstream to one client and kept nowhere.
 *
 * With a hash, the last chunk is held back until the whole digest matched; an empty body is checked before it is opened.
 * Without one nobody can verify it: a range that does not follow what was hashed before, or ends before the blob does.
 */
export class PassedBody implements BodyReader {
  /** Of the whole blob. */
  readonly size: number | undefined
  readonly #digest: Digest
  readonly #chunks: AsyncIterator<Buffer>
  readonly #options: PassedBodyOptions
  readonly #abort: AbortController
  /** Bytes still to come, where that is known. */
  #left: number | undefined
  #held: Buffer | undefined
  #ended = false
  #failure: unknown

  /** Rejects with RegistryError BLOB_UNKNOWN where the repository does not hold it, UpstreamError and ContentMismatch. */
  static async open(origin: Origin, digest: Digest, options: PassedBodyOptions): Promise<PassedBody> {
    const abort = new AbortController()
    const { span, answerTimeout } = options
    const signal = options.signal ? AbortSignal.any([abort.signal, options.signal]) : abort.signal
    const source = await askUpstream(origin, { answerTimeout, signal }, (limited) =>
      origin.upstream.blob(origin.name, digest, { ...span, size: options.size }, limited),
    )
    if (!source) throw new RegistryError('BLOB_UNKNOWN')
    const body = new PassedBody(digest, source, options, abort)
    try {
      if (body.#left === 0) await body.#prime()
      return body
    } catch (error) {
      await body.close()
      throw error
    }
  }

  private constructor(digest: Digest, source: BlobSource, options: PassedBodyOptions, abort: AbortController) {
    const { start, end } = options.span
    this.size = options.size ?? source.size
    this.#left = this.size === undefined ? undefined : Math.min(end ?? this.size - 1, this.size - 1) + 1 - start
    this.#digest = digest
    this.#chunks = source.body[Symbol.asyncIterator]()
    this.#options = options
    this.#abort = abort
  }

  async read(): Promise<Buffer | undefined> {
    if (this.#failure !== undefined) throw this.#failure
    try {
      return await this.#take()
    } catch (error) {
      this.#failure ??= error
      throw this.#failure
    }
  }

  async transfer(): Promise<Moved> {
    return nothingMoved
  }

  cork(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    this.#failure ??= new ReaderClosed()
    this.#abort.abort(this.#failure)
    await this.#chunks.return?.().catch(() => undefined)
  }

  /** The chunk before the one that has come; at the end, once that is verified, the last. */
  async #take(): Promise<Buffer | undefined> {
    const chunk = this.#ended ? undefined : await this.#next()
    // Only the one that completes it, where that is known.
    if (!this.#options.hash || (!this.#held && chunk && this.#left !== undefined && this.#left > 0)) return chunk
    const ready = this.#held
    // A copy: what the source gives is valid until it is asked again.
    this.#held = chunk && Buffer.from(chunk)
    return ready ?? (chunk && this.#take())
  }

  /** Reads the first chunk, or the end, ahead. */
  async #prime(): Promise<void> {
    this.#held = await this.#next()
  }

  async #next(): Promise<Buffer | undefined> {
    const { done, value } = await this.#chunks.next()
    if (this.#failure !== undefined) throw this.#failure
    if (done) {
      this.#ended = true
      if (this.#options.hash) this.#judge(this.#options.hash)
      return undefined
    }
    this.#options.received(value.length)
    this.#options.hash?.update(value)
    if (this.#left !== undefined) {
      this.#left -= value.length
      if (this.#left < 0) this.#refuse(`${this.size} bytes`, 'more')
    }
    return value
  }

  #judge(hash: Hash): void {
    const actual = hash.digest('hex')
    if (actual !== hexOf(this.#digest)) this.#refuse(this.#digest, actual)
    this.#options.judged('verified')
  }

  #refuse(expected: string, actual: string): never {
    if (this.#options.hash) this.#options.judged('mismatch')
    throw new ContentMismatch(expected, actual)
  }
}
