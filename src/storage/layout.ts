import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type Algorithm, algorithmOf, type Digest, hexOf } from '../oci/digest.ts'

/**
 * Every path below a data folder. Only this file joins them. The folder is made for its owner alone.
 *
 *     version                     the layout's version
 *     lock                        locked while a process owns the folder
 *     blobs/<algorithm>/<hex>     an OCI image layout's blob folder: verified, immutable, read-only
 *     blobs/<algorithm>/<hex>.json  beside a manifest: media type and repositories; for its owner alone
 *     ingest/<random>             spools; all of them are deleted at start
 *     pins.json                   the pins, which survive the metadata
 *     metadata.sqlite
 */
export type StoragePath =
  | { readonly kind: 'version' | 'lock' | 'metadata' | 'pins' | 'ingest' }
  /** A new name with each call. */
  | { readonly kind: 'spool' }
  /** A file in `ingest` that an earlier process left. */
  | { readonly kind: 'leftover'; readonly name: string }
  /** The folder of all blobs of that algorithm. */
  | { readonly kind: 'algorithm'; readonly algorithm: Algorithm }
  | { readonly kind: 'blob' | 'note'; readonly digest: Digest }

export function pathOf(root: string, place: StoragePath): string {
  switch (place.kind) {
    case 'version':
    case 'lock':
    case 'ingest':
      return join(root, place.kind)
    case 'metadata':
      return join(root, 'metadata.sqlite')
    case 'pins':
      return join(root, 'pins.json')
    case 'spool':
      return join(root, 'ingest', randomUUID())
    case 'leftover':
      return join(root, 'ingest', place.name)
    case 'algorithm':
      return join(root, 'blobs', place.algorithm)
    case 'blob':
      return join(root, 'blobs', algorithmOf(place.digest), hexOf(place.digest))
    case 'note':
      return `${join(root, 'blobs', algorithmOf(place.digest), hexOf(place.digest))}.json`
  }
}
