import type { Descriptor } from './descriptor.ts'
import { parseDigest } from './digest.ts'
import {
  dockerManifest,
  essence,
  isBlobType,
  isImageManifest,
  isIndex,
  isManifestType,
  isMediaType,
  ociIndex,
  ociManifest,
  octetStream,
  schema1,
  signedSchema1,
} from './media-type.ts'

/** What a manifest names, and so claims that its repository holds. */
export interface Claims {
  readonly manifests: readonly Descriptor[]
  readonly blobs: readonly Descriptor[]
}

const none: Claims = { manifests: [], blobs: [] }

/**
 * The media type to store and serve a manifest under.
 *
 * The `Content-Type` header decides if it is specific. registry.access.redhat.com and some static mirrors send
 * `text/plain` or `application/json`; then the body's `mediaType` decides, or else its fields.
 */
export function manifestMediaType(contentType: string | undefined, body: Buffer): string {
  const declared = essence(contentType ?? '')
  if (declared.startsWith('application/vnd.') && isMediaType(declared)) return declared
  const parsed = parseObject(body)
  const own = typeof parsed?.['mediaType'] === 'string' ? essence(parsed['mediaType']) : ''
  if (isMediaType(own)) return own
  if (Array.isArray(parsed?.['manifests'])) return ociIndex
  if (isObject(parsed?.['config'])) return isDockerType(parsed['config']['mediaType']) ? dockerManifest : ociManifest
  if (parsed?.['schemaVersion'] === 1) return Array.isArray(parsed['signatures']) ? signedSchema1 : schema1
  return isMediaType(declared) ? declared : octetStream
}

/**
 * Whether JSON that came with this `Content-Type` is a manifest: with a schema version, or of a manifest's type, as the
 * header or the JSON itself says. A type that is only guessed from its fields is none, and neither is an error list.
 */
export function isManifest(contentType: string | undefined, parsed: Readonly<Record<string, unknown>>): boolean {
  if (typeof parsed['schemaVersion'] === 'number') return true
  if (Object.keys(parsed).length === 0 || Array.isArray(parsed['errors'])) return false
  const own = typeof parsed['mediaType'] === 'string' ? parsed['mediaType'] : ''
  return isManifestType(essence(contentType ?? '')) || isManifestType(essence(own))
}

/**
 * The children, config and layers that a manifest names; empty for unknown media types. Descriptors with `urls` are left
 * out: these foreign layers are stored elsewhere, and the repository need not hold them.
 */
export function claimsOf(mediaType: string, body: Buffer): Claims {
  if (isIndex(mediaType)) {
    // BuildKit's registry cache is an index of layers. What a child is follows from its own type; of an unknown one, both.
    const children = descriptors(parseObject(body)?.['manifests'])
    return {
      manifests: children.filter((child) => !isBlobType(child.mediaType)),
      blobs: children.filter((child) => !isManifestType(child.mediaType)),
    }
  }
  if (!isImageManifest(mediaType)) return none
  const parsed = parseObject(body)
  const named = [...descriptors([parsed?.['config']]), ...descriptors(parsed?.['layers'])]
  // A config or layer of an unknown type is a blob by its place.
  return {
    manifests: named.filter((child) => isManifestType(child.mediaType)),
    blobs: named.filter((child) => !isManifestType(child.mediaType)),
  }
}

function descriptors(value: unknown): Descriptor[] {
  if (!Array.isArray(value)) return []
  return value.flatMap((item) => {
    if (!isObject(item) || 'urls' in item) return []
    const digest = typeof item['digest'] === 'string' ? parseDigest(item['digest']) : undefined
    const { size, mediaType } = item
    if (!digest || !Number.isSafeInteger(size) || (size as number) < 0) return []
    if (typeof mediaType !== 'string' || !isMediaType(mediaType)) return []
    return [{ digest, size: size as number, mediaType }]
  })
}

export function parseObject(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isDockerType(mediaType: unknown): boolean {
  return typeof mediaType === 'string' && mediaType.startsWith('application/vnd.docker.')
}
