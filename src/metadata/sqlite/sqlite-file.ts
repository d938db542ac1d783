import { renameSync, statSync } from 'node:fs'
import { isDamage, isDamageAtOpen, SqliteConnection } from './sqlite-connection.ts'

export interface SqliteFileOptions {
  /** The file was damaged: it has been kept under another name, and an empty one stands in its place. */
  readonly onDamage?: (setAside: string, cause: unknown) => void
}

/** A database file that belongs to one process, and that is replaced when it turns out damaged: at once, while running. */
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

  /** Throws where the file cannot be opened or written, or is of a newer version. `:memory:` keeps nothing. */
  static open(path: string, options: SqliteFileOptions = {}): SqliteFile {
    try {
      return new SqliteFile(path, options)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new Error(`cannot open the metadata in ${path}: ${reason}`, { cause: error })
    }
  }

  /** Does the work; a second time, on an empty file, where the first showed that the file is damaged. */
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

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]()
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
