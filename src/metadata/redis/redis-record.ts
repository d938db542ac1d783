import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Link, LinkKind, TagRecord, Use } from '../metadata-store.ts'

type Hash = Readonly<Record<string, string>>

/** The fields of a tag but `checkedAt`, each followed by its value. */
export function tagFields({ digest, mediaType, size, etag }: TagRecord): (string | number)[] {
  const fields = ['digest', digest, 'mediaType', mediaType, 'size', size]
  return etag === undefined ? fields : [...fields, 'etag', etag]
}

/** Undefined for what is no record of ours: others write to this Redis, too. */
export function parseTag(hash: Hash): TagRecord | undefined {
  const digest = parseDigest(hash['digest'] ?? '')
  const size = parseNumber(hash['size'])
  const checkedAt = parseNumber(hash['checkedAt'])
  const mediaType = hash['mediaType']
  if (!digest || size === undefined || checkedAt === undefined || mediaType === undefined) return undefined
  return { digest, mediaType, size, etag: hash['etag'], checkedAt }
}

/** As `parseTag`. */
export function parseLink(kind: LinkKind, digest: Digest, hash: Hash): Link | undefined {
  const { mediaType, visibility } = hash
  if (mediaType === undefined || (visibility !== 'public' && visibility !== 'unproven')) return undefined
  return { kind, digest, size: parseNumber(hash['size']), mediaType, visibility }
}

/** Uses from digest, size and time in turn. */
export function parseUses(values: readonly unknown[]): Use[] {
  const uses: Use[] = []
  for (let n = 0; n < values.length; n += 3) {
    const digest = parseDigest(String(values[n]))
    if (digest) uses.push({ digest, size: Number(values[n + 1]), at: Number(values[n + 2]) })
  }
  return uses
}

function parseNumber(text: string | undefined): number | undefined {
  const number = Number(text || undefined)
  return Number.isFinite(number) ? number : undefined
}
