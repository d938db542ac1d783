import type { Link, MetadataTier } from '../metadata/metadata-store.ts'
import { type Digest, hasherFor } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import { type ByteRange, resolveRange, type SingleRange } from '../oci/range.ts'
import type { OpenBlob } from '../storage/blob-store.ts'
import type { BodyReader } from '../storage/body-reader.ts'
import type { BlobSpan } from '../upstream/upstream.ts'
import { type ContentCache, maxSmallBlob } from './content-cache.ts'
import type { Fill, FillDependencies } from './fill/fill.ts'
import type { Fills, Located } from './fill/fills.ts'
import { PassedBody } from './fill/passed-body.ts'
import type { Outcome } from './observer.ts'
import { mayServe, type Origin } from './origin.ts'
import { Rights } from './rights.ts'

/** A range on a fill waits this long, in milliseconds, for the fill to reach it; then it is fetched by itself. */
const rangeWait = 1_000

export interface ServedBlob {
  readonly outcome: Outcome
  /** The bytes come straight from upstream and are not kept. */
  readonly passed: boolean
  /** Bytes of the whole blob; undefined where nobody tells, and then the body is sent without a length. */
  readonly size: number | undefined
  /** Present where a range was asked for and is honoured. */
  readonly range: ByteRange | undefined
  /** The bytes of the range, or of the whole blob; undefined for its head. The caller closes a reader. */
  readonly body: Buffer | BodyReader | undefined
}

/** What a client wants of a blob. */
export interface BlobWish {
  readonly digest: Digest
  /** `head`: size and presence. */
  readonly part: 'head' | 'whole' | SingleRange
}

interface Wanted {
  readonly origin: Origin
  readonly digest: Digest
  readonly range: SingleRange | undefined
  readonly link: Link | undefined
}

export interface BlobsOptions {
  readonly fills: Fills
  readonly metadata: MetadataTier
  readonly content: ContentCache
  readonly dependencies: Pick<FillDependencies, 'observer' | 'now' | 'answerTimeout' | 'proven'>
}

/** Blobs by digest, through a repository that holds them. */
export class Blobs {
  readonly #options: BlobsOptions
  readonly #rights: Rights

  constructor(options: BlobsOptions) {
    this.#options = options
    this.#rights = new Rights(options)
  }

  /**
   * A blob that needs no waiting: it is proven for this repository, and in memory or in a file that opens at once. For its
   * head alone no file is opened. Undefined means: ask `get`.
   */
  tryCached(origin: Origin, { digest, part }: BlobWish): ServedBlob | undefined {
    if (!this.#isProven(origin, digest)) return undefined
    const { content, fills, metadata, dependencies } = this.#options
    const cached = content.get(digest)
    const blob = cached || part === 'head' ? undefined : fills.tryCached(digest, maxSmallBlob)
    const size = cached?.size ?? blob?.size
    if (size === undefined) return undefined
    const range = typeof part === 'object' ? resolveRange(part, size) : undefined
    if (typeof part === 'object' && !range) {
      void blob?.close()
      return undefined
    }
    if (blob) metadata.touch(digest, size, dependencies.now())
    const body = cached ? bytesOf(cached.body, range) : blob?.reader(range ?? wholeOf(size))
    return { outcome: 'hit', passed: false, size, range, body }
  }

  /** Rejects with RegistryError, UpstreamError or ContentMismatch. The head alone never moves the bytes of a blob. */
  async get(origin: Origin, { digest, part }: BlobWish): Promise<ServedBlob> {
    const served = part === 'head' ? await this.#head(origin, digest) : await this.#get(origin, digest, part)
    this.#options.dependencies.observer.answered('blob', origin.upstream.name, served.outcome)
    return served
  }

  async #get(origin: Origin, digest: Digest, part: 'whole' | SingleRange): Promise<ServedBlob> {
    const { fills } = this.#options
    const range = part === 'whole' ? undefined : part
    const link = await this.#rights.link(origin, digest)
    // Not worth a fill.
    if (range && link?.size !== undefined) resolve(range, link.size)
    const wanted = { origin, digest, range, link }
    const source = { origin, size: link?.size, proven: link !== undefined }
    for (;;) {
      const located = await fills.locate(digest, source)
      const served = await this.#serve(wanted, located)
      if (served) return served
    }
  }

  async #head(origin: Origin, digest: Digest): Promise<ServedBlob> {
    const known = await this.#rights.link(origin, digest)
    const stored = known?.size === undefined ? await this.#options.fills.storedSize(digest) : undefined
    const told = known && (known.size ?? stored) !== undefined ? undefined : await this.#rights.prove(origin, digest)
    const size = known?.size ?? stored ?? told?.size
    if (size === undefined) {
      throw new UpstreamError(origin.upstream.name, 'protocol', `tells no size of ${digest}`)
    }
    const passed = known === undefined
    return { outcome: passed ? 'miss' : 'hit', passed, size, range: undefined, body: undefined }
  }

  /** Downloads what the store has lost, for nobody in particular. False where it cannot be had now. */
  async refill(origin: Origin, digest: Digest): Promise<boolean> {
    const located = await this.#options.fills.locate(digest, { origin, size: undefined, proven: true })
    if (located.kind === 'fill') {
      const end = await located.fill.ended
      located.leave()
      return end === 'stored'
    }
    await located.blob.close()
    return true
  }

  /** As far as memory knows. */
  #isProven(origin: Origin, digest: Digest): boolean {
    const link = this.#options.metadata.peekLink(origin.repository, 'blob', digest)
    return link !== undefined && mayServe(origin, link.visibility)
  }

  /** Undefined when the fill ended meanwhile: look again. */
  async #serve(wanted: Wanted, located: Located): Promise<ServedBlob | undefined> {
    if (located.kind === 'stored') return await this.#stored(wanted, located.blob)
    try {
      return await this.#filling(wanted, located.fill, located.joined ? 'collapsed' : 'miss')
    } finally {
      located.leave()
    }
  }

  /** Undefined where the blob turned out damaged, and is gone: look again. */
  async #stored(wanted: Wanted, blob: OpenBlob): Promise<ServedBlob | undefined> {
    const { digest } = wanted
    const range = await this.#admit(wanted, blob)
    const served = { outcome: 'hit', passed: false, size: blob.size, range } as const
    if (range || blob.size > maxSmallBlob) return { ...served, body: blob.reader(range ?? wholeOf(blob.size)) }
    const loaded = await this.#options.content.load(digest, blob)
    if (loaded) return { ...served, body: loaded.body }
    await this.#options.fills.discard(digest)
    return undefined
  }

  /** The right to a stored blob, and the part of it that is wanted; the blob is closed where there is neither. */
  async #admit({ origin, digest, range, link }: Wanted, blob: OpenBlob): Promise<ByteRange | undefined> {
    const { metadata, dependencies } = this.#options
    try {
      if (!link) await this.#rights.prove(origin, digest, blob.size)
      const resolved = range && resolve(range, blob.size)
      metadata.touch(digest, blob.size, dependencies.now())
      return resolved
    } catch (error) {
      await blob.close()
      throw error
    }
  }

  async #filling(wanted: Wanted, fill: Fill, outcome: Outcome): Promise<ServedBlob | undefined> {
    const { origin, digest, range, link } = wanted
    if (range) this.#refuseSuspect(digest)
    const proven = link !== undefined || (fill.sources.needsProof(origin) && (await this.#rights.prove(origin, digest)))
    if (proven) fill.sources.offer({ origin, size: link?.size, proven: true })
    if (range && (await this.#isFar(wanted, fill, range))) {
      this.#checkRight(wanted, fill)
      const passed = await this.#pass(wanted, fill, outcome).catch(onlyInOrder)
      if (passed) return passed
    }
    await fill.opened.catch(() => undefined)
    switch (fill.end) {
      case undefined:
        this.#checkRight(wanted, fill)
        return this.#follow(wanted, fill, outcome)
      case 'stored':
      case 'abandoned':
        return undefined
      case 'unwritable':
        return await this.#pass(wanted, fill, outcome)
      case 'mismatch':
      case 'failed': {
        const failure = fill.sources.failureOf(origin)
        if (failure === undefined) return undefined
        throw failure
      }
    }
  }

  /** Whether what is being filled may be served through this repository, and a range of it at all. */
  #checkRight({ origin, digest, range }: Wanted, fill: Fill): void {
    if (!fill.sources.isProven(origin)) throw fill.sources.failureOf(origin) ?? new RegistryError('BLOB_UNKNOWN')
    if (range) this.#refuseSuspect(digest)
  }

  /** The client that asks for the rest of a body that was cut at its end must not get just that. */
  #refuseSuspect(digest: Digest): void {
    if (!this.#options.fills.suspects.has(digest)) return
    throw new RegistryError('UNAVAILABLE', {
      detail: 'the last download of this blob was damaged; ask for the whole blob',
      retryAfter: 1,
    })
  }

  /** Whether a range lies so far ahead of the fill that it is better fetched by itself. */
  async #isFar({ link }: Wanted, fill: Fill, range: SingleRange): Promise<boolean> {
    // A range can be placed only when the size is known.
    if (link?.size === undefined) await fill.opened.catch(() => undefined)
    const size = fill.size ?? link?.size
    if (size === undefined || fill.end !== undefined) return false
    const { start } = resolve(range, size)
    return start > fill.written && !(await fill.reaches(start, rangeWait))
  }

  #follow({ origin, digest, range, link }: Wanted, fill: Fill, outcome: Outcome): ServedBlob | undefined {
    const { size } = fill
    if (link?.size !== undefined && size !== undefined && link.size !== size) {
      const told = `blob ${digest} has ${size} bytes, and the manifest says ${link.size}`
      throw new UpstreamError(origin.upstream.name, 'protocol', told)
    }
    const resolved = range && size !== undefined ? resolve(range, size) : undefined
    const reader = fill.follow(origin, spanOf(resolved, size))
    return reader && { outcome, passed: false, size, range: resolved, body: reader }
  }

  async #pass({ origin, digest, range, link }: Wanted, fill: Fill, outcome: Outcome): Promise<ServedBlob> {
    const { fills, dependencies } = this.#options
    const known = link?.size ?? fill.size
    const size = known ?? (range && (await this.#rights.prove(origin, digest)).size)
    const resolved = range && size !== undefined ? resolve(range, size) : undefined
    const span = spanOf(resolved, size)
    const opening = PassedBody.open(origin, digest, {
      span,
      size,
      hash: span.start === 0 && span.end === undefined ? hasherFor(digest) : undefined,
      answerTimeout: dependencies.answerTimeout,
      received: (bytes) => dependencies.observer.received(origin.upstream.name, bytes),
      judged: (verdict) => fills.suspects.judge(digest, verdict),
    })
    const reader = await opening.catch((error: unknown) => this.#rights.reportFailure(origin, error))
    return { outcome, passed: true, size: reader.size, range: resolved, body: reader }
  }
}

/** The same buffer where there is no range. */
function bytesOf(body: Buffer, range: ByteRange | undefined): Buffer {
  return range ? body.subarray(range.start, range.end + 1) : body
}

function wholeOf(size: number): ByteRange {
  return { start: 0, end: size - 1 }
}

/** To the end of the blob where a range reaches it, and so may be verified there. */
function spanOf(range: ByteRange | undefined, size: number | undefined): BlobSpan {
  if (!range) return { start: 0, end: undefined }
  return { start: range.start, end: range.end + 1 === size ? undefined : range.end }
}

/** An upstream that knows no ranges, or gets them wrong, is no reason not to wait for the fill. */
function onlyInOrder(error: unknown): undefined {
  if (!(error instanceof UpstreamError) || error.kind !== 'protocol') throw error
}

function resolve(range: SingleRange, size: number): ByteRange {
  const resolved = resolveRange(range, size)
  if (!resolved) throw new RegistryError('RANGE_INVALID', { detail: { size } })
  return resolved
}
