import type { IncomingMessage } from 'node:http'
import type { BlobWish } from '../cache/blobs.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { parseRange } from '../oci/range.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { noneMatch } from './cache-status.ts'
import type { NamedRoute, Route } from './route.ts'

interface ManifestRequest {
  readonly kind: 'manifest'
  readonly method: 'GET' | 'HEAD'
  readonly route: NamedRoute
  readonly reference: Reference
  readonly part: 'head' | 'whole'
  /** Whether the client holds the manifest already; it may be known only by its tag. */
  readonly ifNoneMatch: string | undefined
}

interface BlobRequest {
  readonly kind: 'blob'
  readonly method: 'GET' | 'HEAD'
  readonly route: NamedRoute
  readonly digest: Digest
  readonly part: BlobWish['part']
  /** The client holds the blob already (`If-None-Match`). */
  readonly isUnchanged: boolean
  /** A body of unknown length needs chunks, which HTTP/1.0 does not have. */
  readonly hasChunks: boolean
}

/**
 * A request to the registry API, read once: what it names, which part of it is wanted, under which condition. It tells
 * nothing of its client, so it may stand for the same request of another one.
 */
export type RegistryRequest =
  | { readonly kind: 'ping'; readonly method: 'GET' | 'HEAD'; readonly route: Route }
  | ManifestRequest
  | BlobRequest

/** Throws RegistryError where nothing can answer it. */
export function readRequest(incoming: IncomingMessage, route: Route): RegistryRequest {
  const { method } = incoming
  if (method !== 'GET' && method !== 'HEAD') {
    throw new RegistryError('UNSUPPORTED', { detail: 'this is a read-only mirror' })
  }
  switch (route.kind) {
    case 'ping':
      return { kind: 'ping', method, route }
    case 'manifests':
      return manifestRequest(incoming, method, route)
    case 'blobs':
      return blobRequest(incoming, method, route)
    case 'referrers':
      // Not NAME_UNKNOWN: after that oras does not look for the tags that stand in for this API.
      throw new RegistryError('MANIFEST_UNKNOWN', { detail: 'referrers are not listed here' })
    case 'tags':
      throw new RegistryError('NAME_UNKNOWN', { detail: 'tags are not listed here' })
    case 'none':
      throw new RegistryError('NAME_UNKNOWN', { detail: 'no such resource here' })
  }
}

function manifestRequest(incoming: IncomingMessage, method: 'GET' | 'HEAD', route: NamedRoute): ManifestRequest {
  const reference = parseReference(route.reference)
  if (!reference) throw new RegistryError('MANIFEST_UNKNOWN', { detail: 'neither a tag nor a digest' })
  const part = method === 'HEAD' ? 'head' : 'whole'
  return { kind: 'manifest', method, route, reference, part, ifNoneMatch: ifNoneMatch(incoming) }
}

function blobRequest(incoming: IncomingMessage, method: 'GET' | 'HEAD', route: NamedRoute): BlobRequest {
  const digest = parseDigest(route.reference)
  if (!digest) throw new RegistryError('DIGEST_INVALID', { detail: 'not a digest of a known algorithm' })
  const isUnchanged = noneMatch(ifNoneMatch(incoming), `"${digest}"`)
  // A condition comes before a range, and HEAD knows no ranges (RFC 9110 §13.2.2, §14.2).
  const part = method === 'HEAD' || isUnchanged ? 'head' : rangeOf(incoming, `"${digest}"`)
  return { kind: 'blob', method, route, digest, part, isUnchanged, hasChunks: incoming.httpVersion !== '1.0' }
}

/** A range that is none, or whose condition does not hold, is ignored. */
function rangeOf({ headers }: IncomingMessage, etag: string): BlobWish['part'] {
  const range = parseRange(headers.range)
  if (!range) return 'whole'
  const condition = headers['if-range']
  if (condition !== undefined && `${condition}`.trim() !== etag) return 'whole'
  if (range.kind === 'multiple') throw new RegistryError('RANGES_UNSUPPORTED')
  return range
}

function ifNoneMatch({ headers }: IncomingMessage): string | undefined {
  return headers['if-none-match']
}
