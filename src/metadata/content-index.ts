import type { Digest } from '../oci/digest.ts'
import type { Link, Use } from './metadata-store.ts'

/** Where a listing by age stopped: the next one goes on behind it. */
export interface Cursor {
  readonly at: number
  readonly digest: Digest
}

/** A tag whose manifest is, or was, stored here. */
export interface TaggedImage {
  /** Whole: `docker.io/library/alpine`. */
  readonly repository: string
  readonly tag: string
  readonly digest: Digest
  readonly mediaType: string
  /** Epoch milliseconds of the upstream's last confirmation. */
  readonly checkedAt: number
}

/** Where a listing of images stopped: the next one goes on behind it. */
export type ImageCursor = Pick<TaggedImage, 'repository' | 'tag'>

/** That a repository holds a digest; also where a listing of them stopped. */
export interface Holding extends Pick<Link, 'kind' | 'digest'> {
  readonly repository: string
}

/** Named sums, such as `requests:blob:hit`; exact for whole numbers up to 2^53. */
export type Counts = Readonly<Record<string, number>>

/** The sums of one stretch of time. */
export interface Bucket {
  /** Epoch milliseconds of its beginning. */
  readonly at: number
  readonly counts: Counts
}

/**
 * What is known of the content of this process's own data folder, and of its past. It is about one disk, so it is not
 * shared between replicas, and it is lost with that disk's metadata. Closed with the store whose database it shares.
 *
 * Absence is `undefined`, or an empty list. A method throws when the database fails. When a method has returned, its
 * writes are seen by every later call; a power cut may lose the last seconds. Deletions of any size go in steps, and let
 * other work pass in between.
 */
export interface ContentIndex {
  /**
   * Last recorded use of a stored blob; undefined where it is not known to be stored. Here and in the two listings
   * below, a use that still waits in a tier to be written is not seen: `forgetUse` has the last word.
   */
  use(digest: Digest): Promise<Use | undefined>
  /** Least recently used first, those of the same time in order of digest; at most `limit`, behind `after`. */
  coldestAfter(after: Cursor | undefined, limit: number): Promise<readonly Use[]>
  /** In order of digest, at most `limit`, behind `after`: for walking through everything stored, whatever is used meanwhile. */
  usesAfter(after: Digest | undefined, limit: number): Promise<readonly Use[]>

  /** Records what a stored manifest names: its children, config and layers. Adds to what was recorded before. */
  addReferences(manifest: Digest, named: readonly Digest[]): Promise<void>
  /** What a manifest was recorded to name, in order of digest. */
  childrenOf(manifest: Digest): Promise<readonly Digest[]>
  /** The manifests that name a digest, in order of digest. */
  parentsOf(digest: Digest): Promise<readonly Digest[]>
  /** Forgets what a manifest names. */
  deleteReferences(manifest: Digest): Promise<void>

  /**
   * Forgets that any repository holds a digest, here. A link that another replica shares, or a read of it that is under
   * way, brings it back: links stay facts when content goes. Memory in front is told by `MetadataTier.forgetLinks`,
   * afterwards.
   */
  deleteLinks(digest: Digest): Promise<void>
  /** Repositories that hold a digest by a link of this process, each once, in order. */
  repositoriesOf(digest: Digest): Promise<readonly string[]>
  /**
   * Links of repositories that begin with `prefix`, in order of repository, kind and digest, at most `limit`, behind
   * `after`, which is to have come from a listing of the same prefix.
   */
  holdings(prefix: string, after: Holding | undefined, limit: number): Promise<readonly Holding[]>
  /**
   * Tags of repositories that begin with `prefix`, in order of repository and tag, at most `limit`, behind `after`, which
   * is to have come from a listing of the same prefix.
   */
  images(prefix: string, after: ImageCursor | undefined, limit: number): Promise<readonly TaggedImage[]>
  /**
   * Forgets every link and tag of a repository, here; answers how many tags there were. What other replicas share is
   * reached by `MetadataStore.deleteTag`, tag by tag; their links stay, as above. Memory in front is told by
   * `MetadataTier.forgetRepository`, afterwards.
   */
  deleteRepository(repository: string): Promise<number>
  /**
   * Forgets tags that no upstream has confirmed since `before` (epoch milliseconds), here; answers how many. Memory in
   * front gives them up when it next asks; a store shared with others keeps them for a time of its own.
   */
  expire(before: number): Promise<number>

  /** In order. */
  pins(): Promise<readonly string[]>
  /** False where it was there already. */
  addPin(pattern: string): Promise<boolean>
  /** False where there was none. */
  deletePin(pattern: string): Promise<boolean>

  /** Adds to the totals, and to the bucket that begins at `bucket` (epoch milliseconds): all of the deltas or none. */
  addCounts(bucket: number, deltas: Counts): Promise<void>
  /** Sums over everything ever added. */
  totals(): Promise<Counts>
  /** Buckets that begin at or after `from`, oldest first; those to which nothing was added are left out. */
  buckets(from: number): Promise<readonly Bucket[]>
  /** Forgets buckets that begin before `before`; the totals keep them. */
  deleteBuckets(before: number): Promise<void>
}
