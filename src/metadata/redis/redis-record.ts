import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Link, LinkKind, TagRecord } from '../metadata-store.ts'

type Hash = Readonly<Record<string, string>>

/** The fields of a tag except `checkedAt`, each followed by its value. */
export function tagFields({ digest, mediaType, size, etag }: TagRecord): (string | number)[] {
  const fields = ['digest', digest, 'mediaType', mediaType, 'size', size]
  return etag === undefined ? fields : [...fields, 'etag', etag]
}

/** Undefined for a hash that is not a record of ours: other programs may write to this Redis. */
export function parseTag(hash: Hash): TagRecord | undefined {
  const digest = parseDigest(hash['digest'] ?? '')
  const size = parseNumber(hash['size'])
  const checkedAt = parseNumber(hash['checkedAt'])
  const mediaType = hash['mediaType']
  if (!digest || size === undefined || checkedAt === undefined || mediaType === undefined) return undefined
  return { digest, mediaType, size, etag: hash['etag'], checkedAt }
}

/** Undefined like `parseTag`. */
export function parseLink(kind: LinkKind, digest: Digest, hash: Hash): Link | undefined {
  const { mediaType, visibility } = hash
  if (mediaType === undefined || (visibility !== 'public' && visibility !== 'unproven')) return undefined
  return { kind, digest, size: parseNumber(hash['size']), mediaType, visibility }
}

function parseNumber(text: string | undefined): number | undefined {
  const number = Number(text || undefined)
  return Number.isFinite(number) ? number : undefined
}
