import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../metadata-store.ts'
import { SqliteFile, type SqliteFileOptions } from './sqlite-file.ts'
import { SqliteIndex } from './sqlite-index.ts'

/**
 * Metadata in one SQLite file, which belongs to one process. Its work is synchronous: it is done when the call returns,
 * and calls take effect in order.
 *
 * While the disk fails, methods throw. A damaged file is replaced at once.
 */
export class SqliteStore implements MetadataStore {
  readonly #file: SqliteFile
  /** In the same file; closed with this store. */
  readonly index: SqliteIndex

  private constructor(file: SqliteFile) {
    this.#file = file
    this.index = new SqliteIndex(file)
  }

  /** Throws if the file cannot be opened or written, or has a newer version. `:memory:` is not kept on disk. */
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.#file[Symbol.dispose]()
  }
}
