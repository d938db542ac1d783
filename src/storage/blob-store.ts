import type { Digest } from '../oci/digest.ts'
import type { ByteRange } from '../oci/range.ts'
import type { BodyReader } from './body-reader.ts'

/** Kept beside a stored manifest, so that metadata can be rebuilt from content. */
export interface ManifestNote {
  readonly mediaType: string
  /** Whole repository names (`docker.io/library/alpine`) that were proven to hold it, and how openly. */
  readonly repositories: Readonly<Record<string, 'public' | 'unproven'>>
}

export interface BlobInfo {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** A stored blob held open: whoever opened it takes one reader or closes it. */
export interface OpenBlob {
  /** Bytes. */
  readonly size: number
  /** Passes the ownership on to the reader. */
  reader(range: ByteRange): BodyReader
  close(): Promise<void>
}

export interface StoredBlob extends BlobInfo {
  /** Present on manifests. */
  readonly note: ManifestNote | undefined
}

/** A file whose content was verified, to be taken over; a `Spool` is one. */
export interface VerifiedFile {
  /** Bytes. */
  readonly written: number
  /** Makes the content durable and read-only under `path`. Rejects where that cannot be done. */
  moveTo(path: string): Promise<void>
}

/**
 * Verified, immutable content, addressed by digest.
 *
 * A blob is either whole and correct, or absent: nothing becomes visible before `adopt` resolves, and `adopt` is only
 * ever given a file whose digest has been checked. A method throws only when the store itself fails.
 */
export interface BlobStore {
  /** Undefined when the blob is absent. */
  stat(digest: Digest): Promise<BlobInfo | undefined>
  /** Undefined when the blob is absent, if only since `stat`. What is open outlives a `delete`. */
  open(digest: Digest): Promise<OpenBlob | undefined>
  /** What `open` would resolve to, if that needs no waiting. Undefined means: ask `open`. */
  tryCached(digest: Digest): OpenBlob | undefined
  /**
   * Takes a verified file over; when it resolves, the blob is durable and visible. Adopting what is already stored is
   * not an error, and adds the note's repositories to those already noted. Whoever reads it goes on undisturbed.
   */
  adopt(digest: Digest, file: VerifiedFile, note?: ManifestNote): Promise<BlobInfo>
  /** Deleting what is absent is not an error. */
  delete(digest: Digest): Promise<void>
  /** In no order; blobs adopted or deleted meanwhile may or may not appear. */
  list(): AsyncIterable<StoredBlob>
}
