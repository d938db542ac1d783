import type { Digest } from '../oci/digest.ts'
import type { ByteRange } from '../oci/range.ts'
import type { Spool } from './spool.ts'

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

/** A read of a reader that was closed, before or while it waited. */
export class ReaderClosed extends Error {
  override readonly name = 'ReaderClosed'
}

/**
 * A socket's descriptor at this moment; undefined where it has none any more, or must not be written to. Asked when the
 * bytes are there, in the same turn as the call: a number that was asked for before may be another connection's by now.
 */
export type SocketDescriptor = () => number | undefined

export interface Moved {
  readonly bytes: number
  /** There was more than was moved: the socket takes no more now, or the body cannot be moved. What comes next is for `read`. */
  readonly full: boolean
}

/** What a body says that cannot be moved. */
export const nothingMoved: Moved = { bytes: 0, full: true }

/** A body that is read by pulling. Constant memory; one owner, who closes it. */
export interface BodyReader {
  /**
   * The next bytes, or undefined at the clean end. The buffer is valid until the next `read` or `close`.
   * Rejects when the body fails, and with ReaderClosed when it is closed while waiting; after that every `read` does.
   */
  read(): Promise<Buffer | undefined>
  /**
   * Moves up to `most` of the next bytes into a connected, non-blocking socket, without passing them through this process.
   * Waits and rejects as `read` does. A client that has left shows at the next write.
   */
  transfer(socket: SocketDescriptor, most: number): Promise<Moved>
  /**
   * Before anything is written to a socket that all of it will be moved into: has whole segments only leave it, headers
   * and body in one, until what it returns is called. Undefined where that is of no use: something may be waited for.
   */
  cork(socket: number): (() => void) | undefined
  /** Idempotent. Ends a waiting `read`, releases every handle. */
  close(): Promise<void>
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

/**
 * Verified, immutable content, addressed by digest.
 *
 * A blob is either whole and correct, or absent: nothing becomes visible before `adopt` resolves, and `adopt` is only
 * ever given a spool whose digest has been checked. A method throws only when the store itself fails.
 */
export interface BlobStore {
  /** Undefined when the blob is absent. */
  stat(digest: Digest): Promise<BlobInfo | undefined>
  /** Undefined when the blob is absent, if only since `stat`. What is open outlives a `delete`. */
  open(digest: Digest): Promise<OpenBlob | undefined>
  /** What `open` would resolve to, where that is to be had without waiting. Undefined means no more than to ask `open`. */
  openAtHand(digest: Digest): OpenBlob | undefined
  /**
   * Takes a verified spool over; when it resolves, the blob is durable and visible. Adopting what is already stored is
   * not an error, and adds the note's repositories to those already noted. The spool's readers go on undisturbed.
   */
  adopt(digest: Digest, spool: Spool, note?: ManifestNote): Promise<BlobInfo>
  /** Deleting what is absent is not an error. */
  delete(digest: Digest): Promise<void>
  /** In no order; blobs adopted or deleted meanwhile may or may not appear. */
  list(): AsyncIterable<StoredBlob>
}
