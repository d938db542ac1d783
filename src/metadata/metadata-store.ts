import type { Digest } from '../oci/digest.ts'
import type { AccessLog } from './access-log.ts'

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
  /** Bytes; undefined where the proof did not say. */
  readonly size: number | undefined
  readonly mediaType: string
  /** `public`: anyone may read it through this repository. `unproven`: a login was used to get it. */
  readonly visibility: 'public' | 'unproven'
}

/**
 * What is known about content, as opposed to content itself: the part that mirrors can share. What is about one disk is
 * in `AccessLog` and `ContentIndex`. Losing all of it loses no content.
 *
 * Repositories are named in full: `docker.io/library/alpine`. Absence is `undefined`. A method throws only when the
 * store itself fails, and then promptly: callers go on without it. Writes become durable soon, not at once: a killed
 * process may lose the last seconds, but the store stays consistent.
 */
export interface MetadataStore extends AsyncDisposable {
  tag(repository: string, tag: string): Promise<TagRecord | undefined>
  /** The last writer wins, but a record with an older `checkedAt` never replaces a newer one. */
  setTag(repository: string, tag: string, record: TagRecord): Promise<void>
  deleteTag(repository: string, tag: string): Promise<void>

  link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined>
  /** All or none. A `public` link never becomes `unproven` again, and a known size is never forgotten. */
  addLinks(repository: string, links: readonly Link[]): Promise<void>
}

/**
 * This process's memory in front of a `MetadataStore` and an `AccessLog`.
 *
 * `tag` asks the store, where another mirror may have checked the tag meanwhile, and falls back to memory if the store
 * fails. `link` is answered from memory if possible. A write is visible here at once and reaches the store later; if it
 * fails there, it does not fail here.
 */
export interface MetadataTier extends MetadataStore, AccessLog {
  /** The tag record in memory. Does not ask the store, so undefined does not mean absent. */
  peekTag(repository: string, tag: string): TagRecord | undefined
  /** The link in memory. Does not ask the store, so undefined does not mean absent. */
  peekLink(repository: string, kind: LinkKind, digest: Digest): Link | undefined
  /** `recordAccesses` for every hit: it is cheap, never waits and never throws. Accesses are written in batches. */
  touch(digest: Digest, size: number, at: number): void
  /** `addLinks` without keeping the links in memory, for links that nobody has asked for yet. */
  restoreLinks(repository: string, links: readonly Link[]): Promise<void>
  /**
   * Removes from memory the links of every repository to a digest. A read that is running now does not put them back.
   * Delete them from the store first: what the store still has, a later read brings back.
   */
  forgetLinks(digest: Digest): void
  /** Like `forgetLinks`, for every link and tag of a repository. Scans all of memory: not for use in requests. */
  forgetRepository(repository: string): void
}
