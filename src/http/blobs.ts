import type { Context } from 'koa'
import type { Mirror, Target } from '../cache/mirror.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import { octetStream } from '../oci/media-type.ts'
import { formatContentRange, lengthOf, parseRange, type SingleRange } from '../oci/range.ts'
import { sendBody } from './body.ts'
import { cacheStatus, noneMatch } from './cache-status.ts'
import type { Exchange } from './exchange.ts'
import { immutable } from './manifests.ts'
import { ByResponse } from './response-writer.ts'

export interface BlobsOptions {
  readonly mirror: Mirror
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
}

/** `GET|HEAD /v2/<name>/blobs/<digest>`. */
export async function serveBlob(
  context: Context,
  exchange: Exchange,
  { target, reference }: { target: Target; reference: string },
  { mirror, clientTimeout }: BlobsOptions,
): Promise<void> {
  const digest = parseDigest(reference)
  if (!digest) throw new RegistryError('DIGEST_INVALID', { detail: 'not a digest of a known algorithm' })
  const etag = `"${digest}"`
  if (context.method === 'HEAD' || noneMatch(exchange.header('if-none-match'), etag)) {
    await serveHead(context, exchange, target, digest, mirror)
    return
  }
  const range = rangeOf(exchange, etag)
  const served = await mirror.blob(target, digest, range)
  exchange.outcome = served.outcome
  const { size } = served
  const length = served.range ? lengthOf(served.range) : size
  if (length === undefined && context.req.httpVersion === '1.0') {
    await served.reader.close()
    // Without chunks the end of the connection would be the end of the body, and a cut would look clean.
    throw new UpstreamError(target.upstream, 'protocol', 'tells no length, and HTTP/1.0 cannot do without')
  }
  context.status = served.range ? 206 : 200
  context.set(blobHeaders(digest, cacheStatus(served.outcome, { passed: served.passed, ttl: undefined })))
  if (served.range && size !== undefined) context.set('Content-Range', formatContentRange(served.range, size))
  if (length !== undefined) context.set('Content-Length', String(length))
  // From here on the response is ours: koa would pipe, and end what must not end.
  context.respond = false
  exchange.headersSent()
  await sendBody(new ByResponse(context.res), served.reader, { length, patience: clientTimeout, tally: exchange })
}

async function serveHead(
  context: Context,
  exchange: Exchange,
  target: Target,
  digest: Digest,
  mirror: Mirror,
): Promise<void> {
  const head = await mirror.blobHead(target, digest)
  exchange.outcome = head.outcome
  context.set(blobHeaders(digest, cacheStatus(head.outcome, { passed: head.passed, ttl: undefined })))
  if (noneMatch(exchange.header('if-none-match'), `"${digest}"`)) {
    context.status = 304
    return
  }
  context.status = 200
  context.set('Content-Length', String(head.size))
}

export function blobHeaders(digest: Digest, status: string): Record<string, string> {
  return {
    'Accept-Ranges': 'bytes',
    'Cache-Control': immutable,
    'Cache-Status': status,
    'Content-Type': octetStream,
    'Docker-Content-Digest': digest,
    ETag: `"${digest}"`,
  }
}

function rangeOf(exchange: Exchange, etag: string): SingleRange | undefined {
  const range = parseRange(exchange.header('range'))
  if (!range) return undefined
  const condition = exchange.header('if-range')
  if (condition !== undefined && condition.trim() !== etag) return undefined
  if (range.kind === 'multiple') throw new RegistryError('RANGES_UNSUPPORTED')
  return range
}
