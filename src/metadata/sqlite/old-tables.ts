import type { StatementSync } from 'node:sqlite'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Access } from '../access-log.ts'
import type { Cursor, Holding, ImageCursor, TaggedImage } from '../content-index.ts'
import type { Link, LinkKind, TagRecord } from '../metadata-store.ts'
import type { oldStatements } from './old-statements.ts'
import { lastName, type PrefixQuery, type RecordTables } from './record-tables.ts'
import {
  accessOfRow,
  changes,
  digestOfRow,
  firstOf,
  holdingOfRow,
  imageOfRow,
  linkOfRow,
  repositoriesOfRows,
  tagOfRow,
} from './sqlite-rows.ts'

export type OldStatements = { readonly [Name in keyof typeof oldStatements]: StatementSync }

/** Takes the records that leave the old tables. */
export interface RecordSink {
  setTag(repository: string, tag: string, record: TagRecord): void
  addLink(repository: string, link: Link): void
  recordAccess(access: Access): void
  addReferences(manifest: Digest, named: readonly Digest[]): void
}

/** What has not been moved yet of the tables of version 2, in which digests, repositories and media types are text. */
export class OldTables implements RecordTables {
  readonly #statement: OldStatements

  constructor(statement: OldStatements) {
    this.#statement = statement
  }

  tag(repository: string, tag: string): TagRecord | undefined {
    const row = this.#statement.tag.get(repository, tag)
    return row && tagOfRow(row)
  }

  link(repository: string, kind: LinkKind, digest: Digest): Link | undefined {
    const row = this.#statement.link.get(repository, kind, digest)
    return row && linkOfRow({ ...row, kind, digest })
  }

  access(digest: Digest): Access | undefined {
    const row = this.#statement.use.get(digest)
    return row && accessOfRow(row)
  }

  leastRecentlyUsed(after: Cursor | undefined, limit: number): Access[] {
    const { at, digest } = after ?? { at: Number.MIN_SAFE_INTEGER, digest: '' }
    return firstOf(limit, (rows) => this.#statement.usesByTime.all(at, digest, rows), accessOfRow)
  }

  accessesAfter(after: Digest | undefined, limit: number): Access[] {
    return firstOf(limit, (rows) => this.#statement.usesByDigest.all(after ?? '', rows), accessOfRow)
  }

  childrenOf(manifest: Digest): Digest[] {
    return this.#statement.namedBy.all(manifest).flatMap((row) => digestOfRow(row) ?? [])
  }

  parentsOf(digest: Digest): Digest[] {
    return this.#statement.namesOf.all(digest).flatMap((row) => digestOfRow(row) ?? [])
  }

  repositoriesOf(digest: Digest): string[] {
    return repositoriesOfRows(this.#statement.repositoriesOf.all(digest))
  }

  holdings({ prefix, after, limit }: PrefixQuery<Holding>): Holding[] {
    const { repository, kind, digest } = after ?? { repository: prefix, kind: '', digest: '' }
    const ask = (rows: number) =>
      this.#statement.holdings.all(repository, kind, digest, prefix, prefix + lastName, rows)
    return firstOf(limit, ask, holdingOfRow)
  }

  images({ prefix, after, limit }: PrefixQuery<ImageCursor>): TaggedImage[] {
    const { repository, tag } = after ?? { repository: prefix, tag: '' }
    const ask = (rows: number) => this.#statement.images.all(repository, tag, prefix, prefix + lastName, rows)
    return firstOf(limit, ask, imageOfRow)
  }

  deleteTag(repository: string, tag: string): number {
    return changes(this.#statement.deleteTag, repository, tag)
  }

  deleteLink(repository: string, kind: LinkKind, digest: Digest): number {
    return changes(this.#statement.deleteLink, repository, kind, digest)
  }

  deleteAccess(digest: Digest, at: number): number {
    return changes(this.#statement.deleteUse, digest, at)
  }

  /** Whatever its time is. */
  deleteAccesses(digest: Digest): number {
    return changes(this.#statement.deleteUses, digest)
  }

  deleteReference(manifest: Digest, named: Digest): number {
    return changes(this.#statement.deleteName, manifest, named)
  }

  deleteReferences(manifest: Digest, limit: number): number {
    return changes(this.#statement.deleteNames, manifest, limit)
  }

  deleteLinks(digest: Digest, limit: number): number {
    return changes(this.#statement.deleteLinksOfDigest, digest, limit)
  }

  deleteLinksOfRepository(repository: string, limit: number): number {
    return changes(this.#statement.deleteLinksOfRepository, repository, limit)
  }

  deleteTagsOfRepository(repository: string, limit: number): number {
    return changes(this.#statement.deleteTagsOfRepository, repository, limit)
  }

  deleteTagsBefore(time: number, limit: number): number {
    return changes(this.#statement.deleteTagsBefore, time, limit)
  }

  /**
   * Takes up to `limit` records out and gives those that pass to `sink`. Returns how many rows left: 0 when none is left.
   * In a transaction.
   */
  // Accesses first: they bring most digests, in order.
  move(limit: number, sink: RecordSink): number {
    const uses = this.#statement.takeUses.all(limit)
    for (const row of uses) {
      const access = accessOfRow(row)
      if (access) sink.recordAccess(access)
    }
    if (uses.length > 0) return uses.length
    const links = this.#statement.takeLinks.all(limit)
    for (const row of links) {
      const link = linkOfRow(row)
      if (link) sink.addLink(String(row['repository']), link)
    }
    if (links.length > 0) return links.length
    const names = this.#statement.takeNames.all(limit)
    for (const { manifest, named } of names) {
      const [parent, child] = [parseDigest(String(manifest)), parseDigest(String(named))]
      if (parent && child) sink.addReferences(parent, [child])
    }
    if (names.length > 0) return names.length
    const tags = this.#statement.takeTags.all(limit)
    for (const row of tags) {
      const record = tagOfRow(row)
      if (record) sink.setTag(String(row['repository']), String(row['tag']), record)
    }
    return tags.length
  }
}
