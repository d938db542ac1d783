import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord, Usage, Use } from '../metadata-store.ts'
import { SqliteFile, type SqliteFileOptions } from './sqlite-file.ts'
import { SqliteIndex } from './sqlite-index.ts'
import { beforeAll, usesOf } from './sqlite-rows.ts'

/**
 * Metadata in one SQLite file, which belongs to one process. Its work is synchronous inside: when a method has been
 * called, it has been done, and calls take effect in their order.
 *
 * A failing disk makes methods throw until it works again. A damaged file is replaced, at once and while running.
 */
export class SqliteStore implements MetadataStore {
  readonly #file: SqliteFile
  /** Over the same file; closed with this store. */
  readonly index: SqliteIndex

  private constructor(file: SqliteFile) {
    this.#file = file
    this.index = new SqliteIndex(file)
  }

  /** Throws where the file cannot be opened or written, or is of a newer version. `:memory:` keeps nothing. */
  static open(path: string, options: SqliteFileOptions = {}): SqliteStore {
    return new SqliteStore(SqliteFile.open(path, options))
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    const row = this.#file.run(({ statement }) => statement.tag.get(repository, tag))
    const digest = parseDigest(String(row?.['digest']))
    if (!row || !digest) return undefined
    return {
      digest,
      mediaType: String(row['media_type']),
      size: Number(row['size']),
      etag: row['etag'] === null ? undefined : String(row['etag']),
      checkedAt: Number(row['checked_at']),
    }
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    const { digest, mediaType, size, etag, checkedAt } = record
    this.#file.run(({ statement }) =>
      statement.setTag.run(repository, tag, digest, mediaType, size, etag ?? null, checkedAt),
    )
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    this.#file.run(({ statement }) => statement.deleteTag.run(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    const row = this.#file.run(({ statement }) => statement.link.get(repository, kind, digest))
    return (
      row && {
        kind,
        digest,
        size: row['size'] === null ? undefined : Number(row['size']),
        mediaType: String(row['media_type']),
        visibility: row['visibility'] === 'public' ? 'public' : 'unproven',
      }
    )
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#file.run((connection) =>
      connection.transaction(() => {
        for (const { kind, digest, size, mediaType, visibility } of links) {
          connection.statement.addLink.run(repository, kind, digest, size ?? null, mediaType, visibility)
        }
      }),
    )
  }

  async recordUses(uses: readonly Use[]): Promise<void> {
    this.#file.run((connection) =>
      connection.transaction(() => {
        for (const { digest, size, at } of uses) connection.statement.recordUse.run(digest, size, at)
      }),
    )
  }

  async coldest(limit: number): Promise<readonly Use[]> {
    return usesOf(this.#file.run(({ statement }) => statement.coldestAfter.all(beforeAll.at, beforeAll.digest, limit)))
  }

  async forgetUse(digest: Digest, at: number): Promise<boolean> {
    return this.#file.run(({ statement }) => statement.forgetUse.run(digest, at)).changes === 1
  }

  async usage(): Promise<Usage> {
    const row = this.#file.run(({ statement }) => statement.usage.get())
    return { blobs: Number(row?.['blobs'] ?? 0), bytes: Number(row?.['bytes'] ?? 0) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#file[Symbol.dispose]()
  }
}
