import { renameSync, statSync } from 'node:fs'
import { isDamage, isDamageAtOpen, SqliteConnection } from './sqlite-connection.ts'

export interface SqliteFileOptions {
  /** The file was damaged. It was renamed to `setAside`, and an empty one was made in its place. */
  readonly onDamage?: (setAside: string, cause: unknown) => void
}

/** A database file of one process. If it turns out damaged, an empty one replaces it at once. */
export class SqliteFile implements Disposable {
  readonly #path: string
  readonly #onDamage: (setAside: string, cause: unknown) => void
  #connection: SqliteConnection

  private constructor(path: string, { onDamage = () => undefined }: SqliteFileOptions) {
    this.#path = path
    this.#onDamage = onDamage
    try {
      this.#connection = new SqliteConnection(path)
    } catch (error) {
      if (!isDamageAtOpen(error)) throw error
      this.#connection = this.#replace(error)
    }
  }

  /** Throws if the file cannot be opened or written, or has a newer version. `:memory:` is not kept on disk. */
  static open(path: string, options: SqliteFileOptions = {}): SqliteFile {
    try {
      return new SqliteFile(path, options)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new Error(`cannot open the metadata in ${path}: ${reason}`, { cause: error })
    }
  }

  /** Runs the work. If that shows that the file is damaged, runs it again on an empty file. */
  run<T>(work: (connection: SqliteConnection) => T): T {
    try {
      return work(this.#connection)
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#connection[Symbol.dispose]()
      this.#connection = this.#replace(error)
      return work(this.#connection)
    }
  }

  /** As `run`, in a transaction: all of the work is done, or none. */
  write(work: (connection: SqliteConnection) => void): void {
    this.run((connection) => connection.transaction(() => work(connection)))
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]()
  }

  #replace(cause: unknown): SqliteConnection {
    const setAside = `${this.#path}.corrupt-${statSync(this.#path).mtime.toISOString().replaceAll(':', '')}`
    // A write-ahead log left behind does no harm: SQLite removes it before it creates the file.
    renameSync(this.#path, setAside)
    const connection = new SqliteConnection(this.#path)
    this.#onDamage(setAside, cause)
    return connection
  }
}
