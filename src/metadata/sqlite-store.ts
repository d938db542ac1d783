import { renameSync, statSync } from 'node:fs'
import { type Digest, parseDigest } from '../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord, Usage, Use } from './metadata-store.ts'
import { isDamage, isDamageAtOpen, SqliteConnection } from './sqlite-connection.ts'

export interface SqliteStoreOptions {
  /** The file was damaged: it has been kept under another name, and an empty one stands in its place. */
  readonly onDamage?: (setAside: string, cause: unknown) => void
}

/**
 * Metadata in one SQLite file, which belongs to one process. Its work is synchronous inside: when a method has been
 * called, it has been done, and calls take effect in their order.
 *
 * A failing disk makes methods throw until it works again. A damaged file is replaced, at once and while running.
 */
export class SqliteStore implements MetadataStore {
  readonly #path: string
  readonly #onDamage: (setAside: string, cause: unknown) => void
  #connection: SqliteConnection

  private constructor(path: string, { onDamage = () => undefined }: SqliteStoreOptions) {
    this.#path = path
    this.#onDamage = onDamage
    try {
      this.#connection = new SqliteConnection(path)
    } catch (error) {
      if (!isDamageAtOpen(error)) throw error
      this.#connection = this.#replace(error)
    }
  }

  /** Throws where the file cannot be opened or written, or is of a newer version. `:memory:` keeps nothing. */
  static open(path: string, options: SqliteStoreOptions = {}): SqliteStore {
    try {
      return new SqliteStore(path, options)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new Error(`cannot open the metadata in ${path}: ${reason}`, { cause: error })
    }
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    const row = this.#run(({ statement }) => statement.tag.get(repository, tag))
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
    this.#run(({ statement }) =>
      statement.setTag.run(repository, tag, digest, mediaType, size, etag ?? null, checkedAt),
    )
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    this.#run(({ statement }) => statement.deleteTag.run(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    const row = this.#run(({ statement }) => statement.link.get(repository, kind, digest))
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
    this.#run((connection) =>
      connection.transaction(() => {
        for (const { kind, digest, size, mediaType, visibility } of links) {
          connection.statement.addLink.run(repository, kind, digest, size ?? null, mediaType, visibility)
        }
      }),
    )
  }

  async recordUses(uses: readonly Use[]): Promise<void> {
    this.#run((connection) =>
      connection.transaction(() => {
        for (const { digest, size, at } of uses) connection.statement.recordUse.run(digest, size, at)
      }),
    )
  }

  async coldest(limit: number): Promise<readonly Use[]> {
    const rows = this.#run(({ statement }) => statement.coldest.all(limit))
    return rows.flatMap((row) => {
      const digest = parseDigest(String(row['digest']))
      return digest ? [{ digest, size: Number(row['size']), at: Number(row['at']) }] : []
    })
  }

  async forgetUse(digest: Digest, at: number): Promise<boolean> {
    return this.#run(({ statement }) => statement.forgetUse.run(digest, at)).changes === 1
  }

  async usage(): Promise<Usage> {
    const row = this.#run(({ statement }) => statement.usage.get())
    return { blobs: Number(row?.['blobs'] ?? 0), bytes: Number(row?.['bytes'] ?? 0) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection[Symbol.dispose]()
  }

  #run<T>(work: (connection: SqliteConnection) => T): T {
    try {
      return work(this.#connection)
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#connection[Symbol.dispose]()
      this.#connection = this.#replace(error)
      return work(this.#connection)
    }
  }

  #replace(cause: unknown): SqliteConnection {
    const setAside = `${this.#path}.corrupt-${statSync(this.#path).mtime.toISOString().replaceAll(':', '')}`
    // A log left beside it does no harm: SQLite clears that away before it makes a file.
    renameSync(this.#path, setAside)
    const connection = new SqliteConnection(this.#path)
    this.#onDamage(setAside, cause)
    return connection
  }
}
