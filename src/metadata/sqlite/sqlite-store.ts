import type { Digest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../metadata-store.ts'
import { RowMover, type RowMoverOptions } from './row-mover.ts'
import { SqliteFile, type SqliteFileOptions } from './sqlite-file.ts'
import { SqliteIndex } from './sqlite-index.ts'

export interface SqliteStoreOptions extends SqliteFileOptions {
  /** For what an earlier version left. By default it is moved, and a failure is not reported. */
  readonly moving?: RowMoverOptions
}

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
  readonly #mover: RowMover

  /** The file is closed with the store. */
  constructor(file: SqliteFile, moving: RowMoverOptions) {
    this.#file = file
    this.index = new SqliteIndex(file)
    this.#mover = new RowMover(file, moving)
  }

  /** Throws if the file cannot be opened or written, or has a newer version. `:memory:` is not kept on disk. */
  static open(path: string, { moving, ...options }: SqliteStoreOptions = {}): SqliteStore {
    return new SqliteStore(SqliteFile.open(path, options), moving ?? { onFailure: () => undefined })
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    return this.#file.run(({ records }) => records.tag(repository, tag))
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    this.#file.write(({ records }) => records.setTag(repository, tag, record))
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    this.#file.run(({ records }) => records.deleteTag(repository, tag))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    return this.#file.run(({ records }) => records.link(repository, kind, digest))
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    this.#file.write(({ records }) => {
      for (const link of links) records.addLink(repository, link)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#mover[Symbol.dispose]()
    this.#file[Symbol.dispose]()
  }
}
