import type { Digest } from '../oci/digest.ts'
import type { Access } from './access-log.ts'
import type { Link } from './metadata-store.ts'

/** The last entry of a page of accesses by age; the next page starts behind it. */
export interface Cursor {
  readonly at: number
  readonly digest: Digest
}

/** A tag whose manifest is, or was, stored here. */
export interface TaggedImage {
  /** In full: `docker.io/library/alpine`. */
  readonly repository: string
  readonly tag: string
  readonly digest: Digest
  readonly mediaType: string
  /** Epoch milliseconds of the upstream's last confirmation. */
  readonly checkedAt: number
}

/** The last entry of a page of images; the next page starts behind it. */
export type ImageCursor = Pick<TaggedImage, 'repository' | 'tag'>

/** A repository holds a digest. The last one of a page is also the cursor of the next page. */
export interface Holding extends Pick<Link, 'kind' | 'digest'> {
  readonly repository: string
}

/** Sums by name, such as `requests:blob:hit`; exact for whole numbers up to 2^53. */
export type Counts = Readonly<Record<string, number>>

/** The sums of one period. */
export interface Bucket {
  /** Epoch milliseconds of its start. */
  readonly at: number
  readonly counts: Counts
}

/**
 * What is known about the content of this process's own data folder, and its counts. It is about one disk, so mirrors do
 * not share it. Closed with the store whose database it shares.
 *
 * Absence is `undefined` or an empty list. A method throws when the database fails. After a method has returned, every
 * later call sees its writes; a power cut may lose the last seconds. A large deletion runs in steps, and other work runs
 * between them.
 */
export interface ContentIndex {
  /**
   * The last recorded access to a blob; undefined if it is not recorded as stored. This method and the next two do not
   * see accesses that a tier has not written yet: `AccessLog.forgetAccess` of the tier does.
   */
  lastAccess(digest: Digest): Promise<Access | undefined>
  /** The least recently used first, those of the same time by digest; at most `limit`, behind `after`. */
  leastRecentlyUsed(after: Cursor | undefined, limit: number): Promise<readonly Access[]>
  /** By digest, at most `limit`, behind `after`. New accesses do not change the order of such a walk. */
  accessesAfter(after: Digest | undefined, limit: number): Promise<readonly Access[]>

  /** Records what a stored manifest names: its children, config and layers. Adds to what was recorded before. */
  addReferences(manifest: Digest, named: readonly Digest[]): Promise<void>
  /** What a manifest was recorded to name, in order of digest. */
  childrenOf(manifest: Digest): Promise<readonly Digest[]>
  /** The manifests that name a digest, in order of digest. */
  parentsOf(digest: Digest): Promise<readonly Digest[]>
  /** Forgets what a manifest names. */
  deleteReferences(manifest: Digest): Promise<void>

  /**
   * Deletes the local links of all repositories to a digest. A link that another mirror shares, or a read that is
   * running, may bring one back: links stay true when content goes. Call `MetadataTier.forgetLinks` afterwards.
   */
  deleteLinks(digest: Digest): Promise<void>
  /** Repositories with a local link to a digest, each once, in order. */
  repositoriesOf(digest: Digest): Promise<readonly string[]>
  /**
   * Links of the repositories that begin with `prefix`, by repository, kind and digest; at most `limit`, behind `after`,
   * which must come from a listing with the same prefix.
   */
  holdings(prefix: string, after: Holding | undefined, limit: number): Promise<readonly Holding[]>
  /**
   * Tags of the repositories that begin with `prefix`, by repository and tag; at most `limit`, behind `after`, which must
   * come from a listing with the same prefix.
   */
  images(prefix: string, after: ImageCursor | undefined, limit: number): Promise<readonly TaggedImage[]>
  /**
   * Deletes the local links and tags of a repository, and returns how many tags it deleted. A shared store keeps its own:
   * delete its tags by `MetadataStore.deleteTag`; its links stay, as above. Call `MetadataTier.forgetRepository`
   * afterwards.
   */
  deleteRepository(repository: string): Promise<number>
  /**
   * Deletes local tags that no upstream has confirmed since `before` (epoch milliseconds), and returns how many. Memory
   * in front drops them when it next asks. A shared store expires its tags by itself.
   */
  expire(before: number): Promise<number>

  /** In order. */
  pins(): Promise<readonly string[]>
  /** False if the pattern is pinned already. */
  addPin(pattern: string): Promise<boolean>
  /** False if the pattern is not pinned. */
  deletePin(pattern: string): Promise<boolean>

  /** Adds all of the deltas, or none, to the totals and to the bucket that starts at `bucket` (epoch milliseconds). */
  addCounts(bucket: number, deltas: Counts): Promise<void>
  /** Sums of everything ever added. */
  totals(): Promise<Counts>
  /** Buckets that start at or after `from`, oldest first; empty ones are left out. */
  buckets(from: number): Promise<readonly Bucket[]>
  /** Deletes buckets that start before `before`. The totals keep their counts. */
  deleteBuckets(before: number): Promise<void>
}
