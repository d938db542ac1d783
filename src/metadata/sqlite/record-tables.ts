import type { Digest } from '../../oci/digest.ts'
import type { Access } from '../access-log.ts'
import type { Cursor, Holding, ImageCursor, TaggedImage } from '../content-index.ts'
import type { Link, LinkKind, TagRecord } from '../metadata-store.ts'

/** What to list of the repositories that begin with `prefix`: at most `limit`, behind `after`. */
export interface PrefixQuery<Position> {
  readonly prefix: string
  readonly after: Position | undefined
  readonly limit: number
}

/**
 * Records in tables of one version. Synchronous; throws SQLite's error. Absence is `undefined` or an empty list, also of
 * a record that does not pass its parser. Lists are in the order that `ContentIndex` gives them. A deletion returns the
 * number of rows; one with a `limit` deletes no more than so many.
 */
export interface RecordTables {
  tag(repository: string, tag: string): TagRecord | undefined
  link(repository: string, kind: LinkKind, digest: Digest): Link | undefined
  access(digest: Digest): Access | undefined
  leastRecentlyUsed(after: Cursor | undefined, limit: number): Access[]
  accessesAfter(after: Digest | undefined, limit: number): Access[]
  childrenOf(manifest: Digest): Digest[]
  parentsOf(digest: Digest): Digest[]
  /** In no order, perhaps more than once. */
  repositoriesOf(digest: Digest): string[]
  holdings(query: PrefixQuery<Holding>): Holding[]
  images(query: PrefixQuery<ImageCursor>): TaggedImage[]

  deleteTag(repository: string, tag: string): number
  deleteAccess(digest: Digest, at: number): number
  deleteReferences(manifest: Digest, limit: number): number
  deleteLinks(digest: Digest, limit: number): number
  deleteLinksOfRepository(repository: string, limit: number): number
  deleteTagsOfRepository(repository: string, limit: number): number
  deleteTagsBefore(time: number, limit: number): number
}

/** Sorts behind every character of a repository name. */
export const lastName = '\u{10ffff}'

/**
 * The range of repository names with a prefix, behind that of `after`; and `after`, if a part of its repository is still
 * to come.
 */
export function namesOf<Position extends { readonly repository: string }>({
  prefix,
  after,
}: PrefixQuery<Position>): {
  readonly begun: Position | undefined
  readonly from: string
  readonly to: string
} {
  const to = prefix + lastName
  if (after?.repository.startsWith(prefix)) return { begun: after, from: `${after.repository}\0`, to }
  return { begun: undefined, from: after && after.repository > prefix ? to : prefix, to }
}
