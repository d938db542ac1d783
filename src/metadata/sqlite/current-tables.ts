import type { SQLInputValue, StatementSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import type { Access } from '../access-log.ts'
import type { Cursor, Holding, ImageCursor, TaggedImage } from '../content-index.ts'
import type { Link, LinkKind, TagRecord } from '../metadata-store.ts'
import { namesOf, type PrefixQuery, type RecordTables } from './record-tables.ts'
import {
  accessOfRow,
  changes,
  digestOfRow,
  firstOf,
  holdingOfRow,
  imageOfRow,
  linkOfRow,
  type Row,
  repositoriesOfRows,
  tagOfRow,
} from './sqlite-rows.ts'
import type { statements } from './sqlite-statements.ts'
import { bytesOfDigest, firstIdOf, idsOfDigest } from './stored-digest.ts'

export type Statements = { readonly [Name in keyof typeof statements]: StatementSync }

type LinkTarget = Pick<Link, 'kind' | 'digest'>

/** Sorts before every id. */
const noId = -1n

/** Records in which digests, repositories and media types stand by their ids. */
export class CurrentTables implements RecordTables {
  readonly #statement: Statements

  constructor(statement: Statements) {
    this.#statement = statement
  }

  /** Good until something is deleted, or a transaction fails. */
  idOf(digest: Digest): bigint | undefined {
    const first = firstIdOf(digest)
    const row = this.#statement.digestId.get(first, first + BigInt(idsOfDigest - 1), bytesOfDigest(digest))
    return row && BigInt(row['id'] as bigint)
  }

  tag(repository: string, tag: string): TagRecord | undefined {
    const row = this.#statement.tag.get(repository, tag)
    return row && tagOfRow(row)
  }

  link(repository: string, kind: LinkKind, digest: Digest): Link | undefined {
    return this.linkTo(repository, { kind, digest }, this.idOf(digest))
  }

  /** `id` is what `idOf` says of the digest. */
  linkTo(repository: string, { kind, digest }: LinkTarget, id: bigint | undefined): Link | undefined {
    const row = id === undefined ? undefined : this.#statement.link.get(repository, numberOf(kind), id)
    return row && linkOfRow({ ...row, kind, digest })
  }

  access(digest: Digest): Access | undefined {
    return this.accessTo(digest, this.idOf(digest))
  }

  /** As `linkTo`. */
  accessTo(digest: Digest, id: bigint | undefined): Access | undefined {
    const row = id === undefined ? undefined : this.#statement.use.get(id)
    return row && accessOfRow({ ...row, digest })
  }

  leastRecentlyUsed(after: Cursor | undefined, limit: number): Access[] {
    const [at, id] = after ? [after.at, this.#positionOf(after.digest)] : [Number.MIN_SAFE_INTEGER, noId]
    return firstOf(limit, (rows) => this.#statement.usesByTime.all(at, id, rows), accessOfRow)
  }

  accessesAfter(after: Digest | undefined, limit: number): Access[] {
    const id = after ? this.#positionOf(after) : noId
    return firstOf(limit, (rows) => this.#statement.usesByDigest.all(id, rows), accessOfRow)
  }

  childrenOf(manifest: Digest): Digest[] {
    return this.#allWithId(manifest, (id) => this.#statement.namedBy.all(id)).flatMap((row) => digestOfRow(row) ?? [])
  }

  parentsOf(digest: Digest): Digest[] {
    return this.#allWithId(digest, (id) => this.#statement.namesOf.all(id)).flatMap((row) => digestOfRow(row) ?? [])
  }

  repositoriesOf(digest: Digest): string[] {
    const rows = this.#allWithId(digest, (id) => this.#statement.repositoriesOf.all(id))
    return repositoriesOfRows(rows)
  }

  holdings(query: PrefixQuery<Holding>): Holding[] {
    const { begun, from, to } = namesOf(query)
    const rest = begun
      ? this.#inRepository(begun, query.limit, holdingOfRow, (rows) =>
          this.#statement.holdingsOf.all(begun.repository, numberOf(begun.kind), this.#positionOf(begun.digest), rows),
        )
      : []
    const others = (rows: number) => this.#statement.holdingsAfter.all(from, to, rows)
    return [...rest, ...firstOf(query.limit - rest.length, others, holdingOfRow)]
  }

  images(query: PrefixQuery<ImageCursor>): TaggedImage[] {
    const { begun, from, to } = namesOf(query)
    const rest = begun
      ? this.#inRepository(begun, query.limit, imageOfRow, (rows) =>
          this.#statement.imagesOf.all(begun.repository, begun.tag, rows),
        )
      : []
    const others = (rows: number) => this.#statement.imagesAfter.all(from, to, rows)
    return [...rest, ...firstOf(query.limit - rest.length, others, imageOfRow)]
  }

  /** Replaces the tag's record. The caller has opened a transaction, here and in the next methods. */
  setTag(repository: string, tag: string, { digest, mediaType, size, etag, checkedAt }: TagRecord): void {
    const id = this.idOf(digest) ?? this.#addDigest(digest)
    const type = this.#addMediaType(mediaType)
    this.#statement.setTag.run(this.#addRepository(repository), tag, id, type, size, etag ?? null, checkedAt)
  }

  /** `known` is what `idOf` says of the digest. */
  setLink(repository: string, link: Link, known: bigint | undefined): void {
    const { kind, digest, size, mediaType, visibility } = link
    const id = known ?? this.#addDigest(digest)
    const key = [this.#addRepository(repository), numberOf(kind), id]
    this.#statement.setLink.run(...key, size ?? null, this.#addMediaType(mediaType), visibility === 'public' ? 1 : 0)
  }

  /** As `setLink`. */
  setAccess({ digest, size, at }: Access, known: bigint | undefined): void {
    this.#statement.setUse.run(known ?? this.#addDigest(digest), size, at)
  }

  addReferences(manifest: Digest, named: readonly Digest[]): void {
    if (named.length === 0) return
    const id = this.idOf(manifest) ?? this.#addDigest(manifest)
    for (const digest of named) this.#statement.addName.run(id, this.idOf(digest) ?? this.#addDigest(digest))
  }

  deleteTag(repository: string, tag: string): number {
    return changes(this.#statement.deleteTag, repository, tag)
  }

  deleteAccess(digest: Digest, at: number): number {
    return this.#withId(digest, (id) => changes(this.#statement.deleteUse, id, at)) ?? 0
  }

  deleteReferences(manifest: Digest, limit: number): number {
    return this.#withId(manifest, (id) => changes(this.#statement.deleteNames, id, limit)) ?? 0
  }

  deleteLinks(digest: Digest, limit: number): number {
    return this.#withId(digest, (id) => changes(this.#statement.deleteLinksOfDigest, id, limit)) ?? 0
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

  /** The rows of one repository do not repeat its name. */
  #inRepository<Value>(
    { repository }: { readonly repository: string },
    limit: number,
    parse: (row: Row) => Value | undefined,
    ask: (rows: number) => readonly Row[],
  ): Value[] {
    return firstOf(limit, ask, (row) => parse({ ...row, repository }))
  }

  #withId<Value>(digest: Digest, use: (id: SQLInputValue) => Value): Value | undefined {
    const id = this.idOf(digest)
    return id === undefined ? undefined : use(id)
  }

  #allWithId(digest: Digest, ask: (id: SQLInputValue) => Row[]): Row[] {
    return this.#withId(digest, ask) ?? []
  }

  /** All that sorts behind the digest has a greater id, whether the digest is known or not. */
  #positionOf(digest: Digest): bigint {
    return this.idOf(digest) ?? firstIdOf(digest) - 1n
  }

  /** For a digest that has no id. */
  #addDigest(digest: Digest): bigint {
    const first = firstIdOf(digest)
    const bytes = bytesOfDigest(digest)
    for (let id = first; id < first + BigInt(idsOfDigest); id += 1n) {
      if (changes(this.#statement.addDigest, id, bytes) > 0) return id
    }
    throw new Error(`${digest} has no id: ${idsOfDigest} digests that begin alike are known already`)
  }

  #addRepository(name: string): bigint {
    const row = this.#statement.repositoryId.get(name) ?? this.#statement.addRepository.get(name)
    return BigInt(row?.['id'] as bigint)
  }

  #addMediaType(name: string): bigint {
    const row = this.#statement.mediaTypeId.get(name) ?? this.#statement.addMediaType.get(name)
    return BigInt(row?.['id'] as bigint)
  }
}

function numberOf(kind: LinkKind): number {
  return kind === 'manifest' ? 1 : 0
}
