import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import { UpstreamError } from '../oci/error.ts'
import { lengthOf, parseContentRange } from '../oci/range.ts'
import { statusError } from './failure.ts'
import { type HeadSupport, headOrUnclear } from './head-support.ts'
import { type Fault, faultError, judgeBlob, judgeBlobHead, judgeBlobProbe } from './judge.ts'
import type { RequestContext } from './manifests.ts'
import type { MissingJudge } from './missing.ts'
import type { RegistryClient, UpstreamRequest, UpstreamResponse } from './registry-client.ts'
import type { Attempt } from './transfer/attempts.ts'
import { Body } from './transfer/body.ts'
import { contentLengthOf, headerOf } from './transfer/response.ts'
import type { ResponseBody } from './transfer/response-body.ts'
import type { BlobRest, BlobSpan } from './upstream.ts'

/** Bytes of an answer that ignored our range: so many are read and dropped to reach the start of the range. */
const maxSkipped = 1024 * 1024

export interface Presence {
  /** Bytes; undefined where the registry hides it. */
  readonly size: number | undefined
  readonly withLogin: boolean
}

export interface RegistryBlobsOptions {
  readonly upstream: string
  readonly client: RegistryClient
  readonly headSupport: HeadSupport
  readonly missing: MissingJudge
}

/** Requests for the blobs of one registry: whether a blob is there, and one attempt to get its bytes. */
export class RegistryBlobs {
  readonly #options: RegistryBlobsOptions

  constructor(options: RegistryBlobsOptions) {
    this.#options = options
  }

  /**
   * Sends a HEAD, and a GET for one byte where HEAD lies (public.ecr.aws: 401; ghcr.io: 403 from its storage) or hides
   * the size.
   */
  async stat(repository: string, digest: Digest, context: RequestContext): Promise<Presence | undefined> {
    const { headSupport } = this.#options
    const path = pathOf(repository, digest)
    const useless = headSupport.isUseless('blob', repository)
    const head = useless ? 'unclear' : await this.#head(repository, digest, context)
    if (head !== 'unclear' && head !== 'refused') return head
    if (head === 'refused' && headSupport.isConfirmed(path)) return undefined
    const got = await this.#probe(repository, digest, context)
    if (head === 'refused' && got === 'refused') headSupport.confirm(path)
    else if (got !== 'absent') headSupport.markUseless('blob', repository)
    return got === 'absent' || got === 'refused' ? undefined : got
  }

  /** Like `stat`, by a GET for one byte alone: some registries guard the GET, and not the HEAD. */
  async prove(repository: string, digest: Digest, context: RequestContext): Promise<Presence | undefined> {
    const got = await this.#probe(repository, digest, context)
    return typeof got === 'string' ? undefined : got
  }

  /** Resolves when the headers have arrived. Undefined where the blob is absent. */
  async open(
    repository: string,
    digest: Digest,
    span: BlobSpan,
    context: RequestContext,
  ): Promise<Attempt | undefined> {
    const answer = await this.#options.client.ask(this.#get(repository, digest, rangeOf(span), context))
    if (answer === 'refused') return undefined
    if (answer.status !== 404) return this.#attemptAt(answer, span)
    await this.#confirm(answer, repository, digest, context)
    return undefined
  }

  /** The same for a file, of a blob that has `size` bytes as far as is known. */
  async download(
    repository: string,
    digest: Digest,
    { start, size }: BlobRest,
    context: RequestContext,
  ): Promise<Attempt<ResponseBody> | undefined> {
    const span = { start, end: undefined, size }
    const request = this.#get(repository, digest, rangeOf(span), context)
    const answer = await this.#options.client.download(request, size === undefined ? undefined : size - start)
    if (answer === 'refused') return undefined
    if (answer.status !== 404) return this.#attemptAt(answer, span)
    // Whether it is a registry's own 404 is in its body, and a thread drops that.
    if (!(answer.body instanceof Body)) return await this.open(repository, digest, span, context)
    await this.#confirm({ ...answer, body: answer.body }, repository, digest, context)
    return undefined
  }

  async #head(
    repository: string,
    digest: Digest,
    context: RequestContext,
  ): Promise<Presence | undefined | 'unclear' | 'refused'> {
    const answer = await headOrUnclear(() => this.#ask('HEAD', repository, digest, {}, context))
    if (answer === 'unclear' || answer === 'refused') return answer
    const { headSupport, missing } = this.#options
    const size = judgeBlobHead(answer, digest)
    if (size === 'missing') {
      const isOwn = headSupport.hasAnswered('blob') && (await missing.isOwn(answer, context.signal))
      return isOwn ? undefined : 'unclear'
    }
    if (size === 'unclear' || (size === 0 && digest !== emptyOf(digest))) return 'unclear'
    headSupport.markAnswered('blob')
    return { size, withLogin: answer.withLogin }
  }

  async #probe(repository: string, digest: Digest, context: RequestContext): Promise<Presence | 'absent' | 'refused'> {
    const answer = await this.#ask('GET', repository, digest, { range: 'bytes=0-0' }, context)
    if (answer === 'refused') return answer
    const { status, headers, body, withLogin } = answer
    if (status === 404) {
      await this.#confirm(answer, repository, digest, context)
      return 'absent'
    }
    if (status === 200) body.close()
    else body.discard()
    const range = headerOf(headers, 'content-range')
    if (status === 200 || status === 206) {
      const verdict = judgeBlobProbe(answer, digest)
      if ('what' in verdict) throw this.#fault(verdict)
      return { size: verdict.size, withLogin }
    }
    if (status === 416 && range?.trim() === 'bytes */0') return { size: 0, withLogin }
    throw this.#unexpected(answer)
  }

  #attemptAt<Content extends ResponseBody>(answer: UpstreamResponse<Content>, span: BlobSpan): Attempt<Content> {
    try {
      return this.#attemptOf(answer, span)
    } catch (error) {
      answer.body.discard()
      throw error
    }
  }

  #attemptOf<Content extends ResponseBody>(answer: UpstreamResponse<Content>, span: BlobSpan): Attempt<Content> {
    const { status, body, withLogin } = answer
    if (status !== 200 && (status !== 206 || !isPart(span))) throw this.#unexpected(answer)
    const verdict = judgeBlob(answer, span.size)
    if ('what' in verdict) throw this.#fault(verdict)
    if (status === 206) return { body, withLogin, skip: 0, tail: 'none', ...this.#rangeOf(answer, span) }
    const { size } = verdict
    if (span.start > maxSkipped) throw this.#protocol('200 and the whole blob for a range far inside it')
    if (size !== undefined && span.start > Math.max(0, size - 1))
      throw this.#protocol('range beyond the end of the blob')
    const tail = span.end === undefined ? 'none' : 'unwanted'
    return { body, withLogin, skip: span.start, tail, size, end: lastOf(span, size) }
  }

  #rangeOf({ headers }: UpstreamResponse<ResponseBody>, span: BlobSpan): Pick<Attempt, 'size' | 'end'> {
    const range = parseContentRange(headerOf(headers, 'content-range'))
    const length = contentLengthOf(headers)
    if (!range || range.start !== span.start) throw this.#protocol('206 with another range than asked for')
    const end = lastOf(span, range.size) ?? range.end
    if (range.end > end) throw this.#protocol('206 with more than asked for')
    if (length !== undefined && length !== lengthOf(range)) throw this.#protocol('206 whose length is not its range')
    return { size: range.size, end }
  }

  /** Rejects where a 404 is no absence. */
  #confirm(answer: UpstreamResponse, repository: string, digest: Digest, { signal }: RequestContext): Promise<void> {
    return this.#options.missing.confirm(answer, `GET blob ${pathOf(repository, digest)}`, signal)
  }

  #ask(
    method: 'GET' | 'HEAD',
    repository: string,
    digest: Digest,
    headers: Record<string, string>,
    context: RequestContext,
  ): Promise<UpstreamResponse | 'refused'> {
    return this.#options.client.ask({ ...this.#get(repository, digest, headers, context), method })
  }

  #get(repository: string, digest: Digest, headers: Record<string, string>, context: RequestContext): UpstreamRequest {
    return { kind: 'blob', method: 'GET', repository, path: pathOf(repository, digest), headers, ...context }
  }

  #unexpected({ status, api }: UpstreamResponse<ResponseBody>): UpstreamError {
    const { upstream } = this.#options
    const refusal = api === undefined && status >= 400 && status !== 416
    // The registry has just signed this address, so the signature has expired early, or a clock is wrong.
    if (refusal)
      return new UpstreamError(upstream, 'unavailable', `GET blob: storage behind it answered ${status}`, { status })
    return statusError(upstream, 'GET blob', status, undefined)
  }

  #fault(fault: Fault): UpstreamError {
    return faultError(this.#options.upstream, 'GET blob', fault)
  }

  #protocol(message: string): UpstreamError {
    return new UpstreamError(this.#options.upstream, 'protocol', `GET blob: ${message}`)
  }
}

function isPart({ start, end }: BlobSpan): boolean {
  return start > 0 || end !== undefined
}

function rangeOf(span: BlobSpan): Record<string, string> {
  return isPart(span) ? { range: `bytes=${span.start}-${span.end ?? ''}` } : {}
}

function pathOf(repository: string, digest: Digest): string {
  return `${repository}/blobs/${digest}`
}

function emptyOf(digest: Digest): Digest {
  return digestOf(Buffer.alloc(0), algorithmOf(digest))
}

/** The last byte of the span, if it is known. */
function lastOf({ end }: BlobSpan, size: number | undefined): number | undefined {
  return size === undefined ? end : Math.min(end ?? size - 1, size - 1)
}
