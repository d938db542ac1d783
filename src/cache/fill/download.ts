import { type Digest, hexOf } from '../../oci/digest.ts'
import { ContentMismatch, RegistryError, UpstreamError } from '../../oci/error.ts'
import { type Spool, SpoolUnwritable } from '../../storage/spool/spool.ts'
import type { BlobToFile, Visibility } from '../../upstream/upstream.ts'
import { askUpstream } from '../ask-upstream.ts'
import type { Observer } from '../observer.ts'
import type { Origin } from '../origin.ts'
import { Progress } from './progress.ts'
import type { Source, Sources } from './sources.ts'

/** Milliseconds after which it is recorded that a source has the blob: most are through by then, and that is recorded. */
const worthRecording = 100

export interface DownloadDependencies {
  readonly observer: Observer
  readonly now: () => number
  /** Milliseconds an upstream may take to answer with headers, all its redirects and tokens included. */
  readonly answerTimeout: number
  /** Records that a repository was seen to hold a blob; `size` only where it is beyond doubt. */
  readonly proven: (origin: Origin, digest: Digest, size: number | undefined, visibility: Visibility) => void
}

export interface DownloadOptions extends DownloadDependencies {
  /** Ends it. */
  readonly signal: AbortSignal
  /** A source has answered, and there is something to follow; it may be called again by the next one. */
  readonly opened: () => void
}

/** The bytes of one blob on their way from its sources into a spool. */
export class Download {
  readonly progress: Progress
  readonly #digest: Digest
  readonly #sources: Sources
  readonly #options: DownloadOptions
  #origin: Origin
  #visibility: Visibility = 'unproven'
  #size: number | undefined
  #recording: NodeJS.Timeout | undefined

  constructor(digest: Digest, sources: Sources, options: DownloadOptions) {
    this.progress = new Progress(options.now)
    this.#digest = digest
    this.#sources = sources
    this.#options = options
    this.#origin = sources.first
  }

  /** Bytes of the blob; undefined before `opened`, and where it is not known. */
  get size(): number | undefined {
    return this.#size
  }

  /** Which it is drawn from, or will be first. */
  get origin(): Origin {
    return this.#origin
  }

  /** Of its answer. */
  get visibility(): Visibility {
    return this.#visibility
  }

  /**
   * Draws the whole body, from one source after the other if need be, into a spool that is being made, and checks it.
   * Resolves to the spool when that is there and all is in it. Rejects with ContentMismatch, SpoolUnwritable, the signal's
   * reason, or why the last source failed; then too the spool is there, or will never be.
   */
  async into(making: Promise<Spool>): Promise<Spool> {
    try {
      return await this.#receive(making)
    } finally {
      clearTimeout(this.#recording)
    }
  }

  async #receive(making: Promise<Spool>): Promise<Spool> {
    let failure: unknown
    for (let source = this.#sources.take(); source; source = this.#sources.take()) {
      this.#origin = source.origin
      try {
        const spool = await this.#drawFrom(source, making)
        if (spool) return await this.#check(spool)
        this.#sources.failed(source, new RegistryError('BLOB_UNKNOWN'))
        failure ??= this.#sources.failureOf(source.origin)
      } catch (error) {
        if (this.#options.signal.aborted || error instanceof SpoolUnwritable) throw error
        this.#sources.failed(source, error)
        this.#report(source, error)
        if (error instanceof ContentMismatch) throw error
        failure = error
      }
    }
    throw failure
  }

  /** Reports to the observer what went wrong with a source. */
  #report({ origin: { upstream, name } }: Source, error: unknown): void {
    const what = `GET blob ${name}@${this.#digest} was answered with bytes that are not it`
    const isMismatch = error instanceof ContentMismatch
    const told = isMismatch ? new UpstreamError(upstream.name, 'protocol', what, { cause: error }) : error
    this.#options.observer.upstreamFailed(upstream.name, told)
  }

  /** Undefined where the source does not hold the blob. */
  async #drawFrom(source: Source, making: Promise<Spool>): Promise<Spool | undefined> {
    const [blob, spool] = await this.#openBoth(source, making)
    if (!blob) return undefined
    this.#announce(source, blob, spool)
    await this.#draw(blob, spool)
    return spool
  }

  /** The disk and the upstream at once: neither waits for the other. */
  async #openBoth(source: Source, making: Promise<Spool>): Promise<[BlobToFile | undefined, Spool]> {
    const opening = this.#open(source)
    opening.catch(() => undefined)
    try {
      const spool = await making
      return [await opening, spool]
    } catch (error) {
      if (error instanceof SpoolUnwritable) void opening.then((blob) => blob?.close()).catch(() => undefined)
      throw error
    }
  }

  async #open({ origin, size }: Source): Promise<BlobToFile | undefined> {
    const limits = { answerTimeout: this.#options.answerTimeout, signal: this.#options.signal }
    const rest = { start: this.progress.written, size: this.#size ?? size }
    const { upstream, name } = origin
    return await askUpstream(origin, limits, (signal) => upstream.download(name, this.#digest, rest, signal))
  }

  #announce(source: Source, blob: BlobToFile, spool: Spool): void {
    this.#sources.answered(source)
    this.#visibility = blob.visibility
    const { proven } = this.#options
    // What the upstream says of the size is not proven before the digest is, and links are believed later.
    clearTimeout(this.#recording)
    this.#recording = setTimeout(
      () => proven(source.origin, this.#digest, source.size, blob.visibility),
      worthRecording,
    )
    this.#size ??= blob.size ?? source.size
    if (this.#size !== undefined) spool.expect(this.#size)
    if (this.#size !== 0) this.#options.opened()
  }

  async #draw(blob: BlobToFile, spool: Spool): Promise<void> {
    for await (const bytes of blob.into(spool.target)) {
      this.#options.observer.received(this.#origin.upstream.name, bytes)
      if (this.#size !== undefined && this.progress.written + bytes > this.#size) {
        throw new ContentMismatch(`${this.#size} bytes`, 'more')
      }
      spool.grew(bytes)
      this.progress.advance(bytes)
    }
  }

  async #check(spool: Spool): Promise<Spool> {
    if (this.#size !== undefined && this.progress.written !== this.#size) {
      throw new ContentMismatch(`${this.#size} bytes`, `${this.progress.written}`)
    }
    const actual = await spool.digest()
    this.#options.signal.throwIfAborted()
    if (actual !== hexOf(this.#digest)) throw new ContentMismatch(this.#digest, actual)
    return spool
  }
}
