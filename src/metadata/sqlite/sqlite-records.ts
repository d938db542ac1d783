import type { Digest } from '../../oci/digest.ts'
import type { Access } from '../access-log.ts'
import type { Cursor, Holding, ImageCursor, TaggedImage } from '../content-index.ts'
import { isSame, mergeLink } from '../merge.ts'
import type { Link, LinkKind, TagRecord } from '../metadata-store.ts'
import { CurrentTables, type Statements } from './current-tables.ts'
import { type OldStatements, OldTables, type RecordSink } from './old-tables.ts'
import type { PrefixQuery, RecordTables } from './record-tables.ts'

/**
 * The records of a database whose rows of version 2 are being moved: each record stands in the current tables or in the
 * old ones, never in both. What is read is looked for in both, what is written goes into the current ones.
 *
 * A writing method that is no deletion runs in a transaction of its caller.
 */
export class SqliteRecords implements RecordTables, RecordSink {
  readonly #current: CurrentTables
  readonly #old: OldTables | undefined

  /** `old`: the statements for tables of version 2, where there are any. */
  constructor(current: Statements, old: OldStatements | undefined) {
    this.#current = new CurrentTables(current)
    this.#old = old && new OldTables(old)
  }

  get hasOldTables(): boolean {
    return this.#old !== undefined
  }

  tag(repository: string, tag: string): TagRecord | undefined {
    return this.#current.tag(repository, tag) ?? this.#old?.tag(repository, tag)
  }

  link(repository: string, kind: LinkKind, digest: Digest): Link | undefined {
    return this.#current.link(repository, kind, digest) ?? this.#old?.link(repository, kind, digest)
  }

  access(digest: Digest): Access | undefined {
    return this.#current.access(digest) ?? this.#old?.access(digest)
  }

  leastRecentlyUsed(after: Cursor | undefined, limit: number): Access[] {
    return this.#list(
      limit,
      (tables) => tables.leastRecentlyUsed(after, limit),
      (access) => [access.at, access.digest],
    )
  }

  accessesAfter(after: Digest | undefined, limit: number): Access[] {
    return this.#list(
      limit,
      (tables) => tables.accessesAfter(after, limit),
      (access) => [access.digest],
    )
  }

  childrenOf(manifest: Digest): Digest[] {
    return this.#list(
      undefined,
      (tables) => tables.childrenOf(manifest),
      (digest) => [digest],
    )
  }

  parentsOf(digest: Digest): Digest[] {
    return this.#list(
      undefined,
      (tables) => tables.parentsOf(digest),
      (parent) => [parent],
    )
  }

  repositoriesOf(digest: Digest): string[] {
    return [...this.#current.repositoriesOf(digest), ...(this.#old?.repositoriesOf(digest) ?? [])]
  }

  holdings(query: PrefixQuery<Holding>): Holding[] {
    const keyOf = ({ repository, kind, digest }: Holding) => [repository, kind, digest]
    return this.#list(query.limit, (tables) => tables.holdings(query), keyOf)
  }

  images(query: PrefixQuery<ImageCursor>): TaggedImage[] {
    return this.#list(
      query.limit,
      (tables) => tables.images(query),
      ({ repository, tag }) => [repository, tag],
    )
  }

  /** Keeps a record that was checked later. */
  setTag(repository: string, tag: string, record: TagRecord): void {
    const known = this.tag(repository, tag)
    if (known && known.checkedAt > record.checkedAt) return
    this.#old?.deleteTag(repository, tag)
    this.#current.setTag(repository, tag, record)
  }

  addLink(repository: string, proof: Link): void {
    const { kind, digest } = proof
    const id = this.#current.idOf(digest)
    const known = this.#current.linkTo(repository, proof, id) ?? this.#old?.link(repository, kind, digest)
    const link = mergeLink(known, proof)
    if (isSame(link, known)) return
    this.#old?.deleteLink(repository, kind, digest)
    this.#current.setLink(repository, link, id)
  }

  /** Keeps a later access. */
  recordAccess(access: Access): void {
    const { digest, at } = access
    const id = this.#current.idOf(digest)
    const known = this.#current.accessTo(digest, id) ?? this.#old?.access(digest)
    if (known && known.at > at) return
    this.#old?.deleteAccesses(digest)
    this.#current.setAccess(access, id)
  }

  addReferences(manifest: Digest, named: readonly Digest[]): void {
    for (const digest of named) this.#old?.deleteReference(manifest, digest)
    this.#current.addReferences(manifest, named)
  }

  deleteTag(repository: string, tag: string): number {
    return this.#sum((tables) => tables.deleteTag(repository, tag))
  }

  deleteAccess(digest: Digest, at: number): number {
    return this.#sum((tables) => tables.deleteAccess(digest, at))
  }

  deleteReferences(manifest: Digest, limit: number): number {
    return this.#sum((tables, left) => tables.deleteReferences(manifest, left), limit)
  }

  deleteLinks(digest: Digest, limit: number): number {
    return this.#sum((tables, left) => tables.deleteLinks(digest, left), limit)
  }

  deleteLinksOfRepository(repository: string, limit: number): number {
    return this.#sum((tables, left) => tables.deleteLinksOfRepository(repository, left), limit)
  }

  deleteTagsOfRepository(repository: string, limit: number): number {
    return this.#sum((tables, left) => tables.deleteTagsOfRepository(repository, left), limit)
  }

  deleteTagsBefore(time: number, limit: number): number {
    return this.#sum((tables, left) => tables.deleteTagsBefore(time, left), limit)
  }

  /** Moves up to `limit` rows out of the old tables, in a transaction of the caller. Returns how many there were. */
  move(limit: number): number {
    return this.#old?.move(limit, this) ?? 0
  }

  /** The lists of both, in the order of `keyOf`. */
  #list<Value>(
    limit: number | undefined,
    listOf: (tables: RecordTables) => Value[],
    keyOf: (value: Value) => readonly (string | number)[],
  ): Value[] {
    const current = listOf(this.#current)
    const old = this.#old ? listOf(this.#old) : []
    if (old.length === 0) return current
    return [...current, ...old].sort((one, other) => compare(keyOf(one), keyOf(other))).slice(0, limit)
  }

  /** Of the deletions in both, no more than `limit` together. */
  #sum(deleteFrom: (tables: RecordTables, limit: number) => number, limit = Number.POSITIVE_INFINITY): number {
    const deleted = deleteFrom(this.#current, limit)
    if (!this.#old || deleted >= limit) return deleted
    return deleted + deleteFrom(this.#old, limit - deleted)
  }
}

function compare(one: readonly (string | number)[], other: readonly (string | number)[]): number {
  for (const [at, value] of one.entries()) {
    const against = other[at] ?? ''
    if (value !== against) return value < against ? -1 : 1
  }
  return 0
}
