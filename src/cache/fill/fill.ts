import type { Hash } from 'node:crypto'
import type { Digest } from '../../oci/digest.ts'
import { ContentMismatch } from '../../oci/error.ts'
import type { BlobStore } from '../../storage/blob-store.ts'
import type { BodyReader } from '../../storage/body-reader.ts'
import { type Spool, SpoolUnwritable } from '../../storage/spool/spool.ts'
import type { BlobSpan } from '../../upstream/upstream.ts'
import type { FillEnd } from '../observer.ts'
import type { Origin } from '../origin.ts'
import { Download, type DownloadDependencies } from './download.ts'
import { FollowedBody } from './followed-body.ts'
import { PassedBody } from './passed-body.ts'
import { type Source, Sources } from './sources.ts'
import type { Verdict } from './suspects.ts'

export interface FillDependencies extends DownloadDependencies {
  readonly store: BlobStore
  readonly createSpool: () => Promise<Spool>
  /** What a stored blob is recorded to measure, in bytes; undefined where nothing is recorded. */
  readonly sizeOf: (digest: Digest) => Promise<number | undefined>
  /** Takes a verified spool over, into the store and its records. Rejects where the store fails, or has no room. */
  readonly adopt: (digest: Digest, spool: Spool) => Promise<void>
}

/** What the keeper of fills wants to hear of each. */
export interface FillHooks {
  /** Somebody came or left. */
  readonly attendanceChanged: () => void
  /** Counts the blob as read, from before it is stored until what is returned is called. */
  readonly read: () => () => void
  /** A whole download of the blob, the fill's or one that went on from it, has shown what it was. */
  readonly judged: (verdict: Verdict) => void
  /** Nobody may follow any more: the blob is in the store, or the fill has failed. */
  readonly closed: () => void
}

/**
 * One running download of one blob from upstream into the store.
 *
 *     opening    a source is asked; `opened` is pending; anybody may join
 *     filling    `opened` resolved: size known, headers may leave; followers read the spool, the hash runs
 *     verified   size and digest right: followers get the last byte; the spool is being adopted
 *     ended      `ended` resolved, `end` is set: `stored`, or why not. Nobody may follow any more
 *
 * An empty body is opened when it is verified: there is no byte of it to hold back.
 *
 * Its lifetime is its own: clients come and go. A source that fails for good is replaced by another that a follower
 * came through; a source that refuses fails only the requests of its repository.
 */
export class Fill {
  readonly digest: Digest
  readonly sources: Sources
  readonly opened: Promise<void>
  readonly ended: Promise<FillEnd>
  readonly startedAt: number
  readonly #dependencies: FillDependencies
  readonly #hooks: FillHooks
  readonly #download: Download
  readonly #opening = Promise.withResolvers<void>()
  readonly #abort = new AbortController()
  #spool: Spool | undefined
  /** Of what the spool has, where it takes no more: for those who go on by themselves. */
  #hashSoFar: Promise<Hash> | undefined
  #attendance = 0
  #end: FillEnd | undefined
  #verified = false

  constructor(digest: Digest, source: Source, dependencies: FillDependencies, hooks: FillHooks) {
    this.digest = digest
    this.sources = new Sources(source)
    this.#dependencies = dependencies
    this.#hooks = hooks
    this.#download = new Download(digest, this.sources, {
      ...dependencies,
      signal: this.#abort.signal,
      opened: () => this.#opening.resolve(),
    })
    this.startedAt = dependencies.now()
    this.opened = this.#opening.promise
    this.opened.catch(() => undefined)
    this.ended = this.#run()
  }

  /** Bytes of the blob; undefined before `opened`, and where it is not known. */
  get size(): number | undefined {
    return this.#download.size
  }

  /** Why nobody may follow any more; undefined while they may. */
  get end(): FillEnd | undefined {
    return this.#end
  }

  get written(): number {
    return this.#download.progress.written
  }

  /** Clients that follow, or are about to. */
  get followers(): number {
    return this.#attendance
  }

  /** Whether it goes on for nobody, and could be given up. */
  get isUnfollowed(): boolean {
    return this.#attendance === 0 && !this.#verified && this.#end === undefined
  }

  /** For those who watch: bytes of the blob, null if the upstream sends no length; bytes downloaded; seconds so far. */
  get progress() {
    return {
      digest: this.digest,
      repository: this.#download.origin.repository,
      size: this.size ?? null,
      written: this.written,
      followers: this.#attendance,
      seconds: (this.#dependencies.now() - this.startedAt) / 1000,
    }
  }

  /**
   * Keeps the fill from counting as unfollowed, and what it stores from being evicted, by one client, until what it
   * returns is called.
   */
  attend(): () => void {
    const closeRead = this.#hooks.read()
    let isHere = true
    this.#attend(1)
    return () => {
      if (!isHere) return
      isHere = false
      closeRead()
      this.#attend(-1)
    }
  }

  /** After `opened`. To the blob's end where `end` is undefined. Undefined when the fill has ended. */
  follow(origin: Origin, span: BlobSpan): BodyReader | undefined {
    if (!this.#spool || this.#end !== undefined) return undefined
    return new FollowedBody({
      body: this.#spool.follow(span),
      start: span.start,
      detour: (offset, signal) => this.#detour(origin, { start: offset, end: span.end }, signal),
      left: this.attend(),
    })
  }

  /** Whether the fill has reached `offset`, or is expected to within `wait` milliseconds, or has ended. */
  reaches(offset: number, wait: number): Promise<boolean> {
    return this.#download.progress.reaches(offset, wait)
  }

  /** Stops the download; whoever follows gets `reason`. */
  abandon(reason: Error): void {
    this.#abort.abort(reason)
  }

  #attend(change: 1 | -1): void {
    this.#attendance += change
    this.#hooks.attendanceChanged()
  }

  async #run(): Promise<FillEnd> {
    const { observer, now } = this.#dependencies
    // Not in the constructor's own turn: whoever made the fill registers it first.
    await undefined
    observer.fillStarted(this.#download.origin.upstream.name, this.digest)
    const { end, error } = await this.#fill()
    await this.#spool?.close()
    const { upstream, repository } = this.#download.origin
    const { digest, written: bytes, startedAt } = this
    const seconds = (now() - startedAt) / 1000
    observer.fillEnded({ upstream: upstream.name, repository, digest, end, bytes, seconds, error })
    return end
  }

  async #fill(): Promise<{ end: FillEnd; error?: unknown }> {
    try {
      const spool = await this.#download.into(this.#createSpool())
      this.#verified = true
      this.#hooks.judged('verified')
      spool.release()
      this.#opening.resolve()
      await this.#dependencies.adopt(this.digest, spool)
      const { origin, visibility } = this.#download
      this.#dependencies.proven(origin, this.digest, this.written, visibility)
      this.#close('stored')
      return { end: 'stored' }
    } catch (error) {
      const end = this.#endAfter(error)
      if (end === 'unwritable') this.#unwritable(error)
      this.#close(end)
      this.#opening.reject(error)
      if (end === 'mismatch') this.#spool?.reject(error)
      else this.#spool?.fail(error)
      return { end, error }
    }
  }

  async #createSpool(): Promise<Spool> {
    const spool = await this.#dependencies.createSpool()
    this.#spool = spool
    spool.hashFor(this.digest)
    return spool
  }

  #endAfter(error: unknown): FillEnd {
    if (this.#verified || error instanceof SpoolUnwritable) return 'unwritable'
    if (error instanceof ContentMismatch) return 'mismatch'
    return this.#abort.signal.aborted ? 'abandoned' : 'failed'
  }

  #unwritable(error: unknown): void {
    this.#dependencies.observer.storeFailed('content', error)
    if (this.#verified) return
    this.#hashSoFar = this.#spool?.hashSoFar()
    this.#hashSoFar?.catch(() => undefined)
  }

  #close(end: FillEnd): void {
    this.#end = end
    if (end === 'mismatch') this.#hooks.judged('mismatch')
    this.#hooks.closed()
    this.#download.progress.end()
  }

  /** The spool is full: one follower goes on from its own upstream, its hash taking over where the fill's stopped. */
  async #detour(origin: Origin, span: BlobSpan, signal: AbortSignal): Promise<BodyReader> {
    const { observer, answerTimeout } = this.#dependencies
    const verifies = span.start === this.written && span.end === undefined
    const hash = verifies ? await this.#hashSoFar : undefined
    return await PassedBody.open(origin, this.digest, {
      span,
      size: this.size,
      hash: hash?.copy(),
      answerTimeout,
      signal,
      received: (bytes) => observer.received(origin.upstream.name, bytes),
      judged: this.#hooks.judged,
    })
  }
}
