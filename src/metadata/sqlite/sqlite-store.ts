import type { Digest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../metadata-store.ts'
import { PinFile, type PinFileOptions } from '../pin-file.ts'
import { isPin } from '../records.ts'
import { RowMover, type RowMoverOptions } from './row-mover.ts'
import { SqliteFile, type SqliteFileOptions } from './sqlite-file.ts'
import { SqliteIndex } from './sqlite-index.ts'

export interface SqliteStoreOptions extends SqliteFileOptions {
  /** For what an earlier version left. By default it is moved, and a failure is not reported. */
  readonly moving?: RowMoverOptions
  /** Where pins are kept. By default they are kept in memory alone. */
  readonly pins?: Pick<PinFileOptions, 'path' | 'onDamage'>
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
  constructor(file: SqliteFile, { moving = { onFailure: () => undefined }, pins = {} }: SqliteStoreOptions = {}) {
    this.#file = file
    this.index = new SqliteIndex(file, openPins(file, pins, moving.onFailure))
    this.#mover = new RowMover(file, moving)
  }

  /** Throws if the file cannot be opened or written, or has a newer version. `:memory:` is not kept on disk. */
  static open(path: string, options: SqliteStoreOptions = {}): SqliteStore {
    return new SqliteStore(SqliteFile.open(path, options), options)
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

/** Pins that an earlier version had in the database go into the file. Where that fails, the next start tries again. */
function openPins(
  file: SqliteFile,
  options: Required<SqliteStoreOptions>['pins'],
  onFailure: (error: unknown) => void,
): PinFile {
  const rows = file.run(({ statement }) => statement.pins.all())
  const earlier = rows.map((row) => row['pattern']).filter(isPin)
  const pins = PinFile.open({ ...options, earlier })
  if (rows.length === 0 || options.path === undefined) return pins
  try {
    pins.save()
    file.run(({ statement }) => statement.deletePins.run())
  } catch (error) {
    onFailure(error)
  }
  return pins
}
