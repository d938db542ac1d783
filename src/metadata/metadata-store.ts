import type { Digest } from '../oci/digest.ts'

/** Where a tag pointed when it was last checked. */
export interface TagRecord {
  readonly digest: Digest
  readonly mediaType: string
  /** Bytes of the manifest. */
  readonly size: number
  /** The upstream's validator for this tag; undefined where it sends none. */
  readonly etag: string | undefined
  /** Epoch milliseconds of the upstream's last confirmation. */
  readonly checkedAt: number
}

export type LinkKind = 'manifest' | 'blob'

/** The proven fact that a repository holds a digest. */
export interface Link {
  readonly kind: LinkKind
  readonly digest: Digest
  /** Bytes; undefined where the proof did not tell. */
  readonly size: number | undefined
  readonly mediaType: string
  /** `public`: anyone may read it through this repository. `unproven`: a login was used to get it. */
  readonly visibility: 'public' | 'unproven'
}

/** That a stored blob was last wanted at `at` (epoch milliseconds). */
export interface Use {
  readonly digest: Digest
  /** Bytes in the store. */
  readonly size: number
  readonly at: number
}

/** How much the store is known to hold. */
export interface Usage {
  readonly blobs: number
  readonly bytes: number
}

/**
 * What is known about content, as opposed to content itself. Losing all of it loses no content.
 *
 * Repositories are written whole: `docker.io/library/alpine`. Absence is `undefined`. A method throws only when the
 * store itself fails, and then promptly: callers go on without it. Writes are durable soon, not at once: a killed
 * process may lose the last seconds, never consistency.
 */
export interface MetadataStore extends AsyncDisposable {
  tag(repository: string, tag: string): Promise<TagRecord | undefined>
  /** Last writer wins, except that an older `checkedAt` never replaces a newer one. */
  setTag(repository: string, tag: string, record: TagRecord): Promise<void>
  deleteTag(repository: string, tag: string): Promise<void>

  link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined>
  /** All or none. A `public` link is not made `unproven` again, and a known size is not forgotten. */
  addLinks(repository: string, links: readonly Link[]): Promise<void>

  /** Records last uses; the newest `at` of a digest counts. */
  recordUses(uses: readonly Use[]): Promise<void>
  /** Least recently used first, at most `limit`. */
  coldest(limit: number): Promise<readonly Use[]>
  /** Forgets the use of a blob that is gone, if its last use is still `at`. False when it was used since. */
  forgetUse(digest: Digest, at: number): Promise<boolean>
  usage(): Promise<Usage>
}

/**
 * A store with what this process knows in front of it.
 *
 * `tag` asks the store behind, where another replica may have checked meanwhile, and goes by memory where it fails;
 * `link` is answered from memory where it can be. Writes are known at once and reach the store behind later; a write
 * that fails there does not fail here.
 */
export interface MetadataTier extends MetadataStore {
  /** What this process knows of a tag, without asking; undefined is not absence. */
  recentTag(repository: string, tag: string): TagRecord | undefined
  /** What this process knows of a link, without asking; undefined is not absence. */
  recentLink(repository: string, kind: LinkKind, digest: Digest): Link | undefined
  /** `recordUses` for the way of every hit: cheap, never waits, never throws; written in batches. */
  recordUse(digest: Digest, size: number, at: number): void
  /** `addLinks` of what nobody asks for now: it takes up no memory. */
  restoreLinks(repository: string, links: readonly Link[]): Promise<void>
  /**
   * Memory of links of every repository to a digest: gone, and nothing that is being read meanwhile is kept. The store
   * behind is another matter, and comes first: what is still there is learnt again.
   */
  forgetLinks(digest: Digest): void
  /** As `forgetLinks`, of every link and tag of a repository. Goes through all of memory: not for the way of requests. */
  forgetRepository(repository: string): void
}
