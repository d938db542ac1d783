import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { Statements } from './current-tables.ts'
import { oldStatements } from './old-statements.ts'
import { SqliteRecords } from './sqlite-records.ts'
import { dropOldTables, migrations, schemaVersion } from './sqlite-schema.ts'
import { statements } from './sqlite-statements.ts'

/**
 * Milliseconds the whole process waits for a lock that another process holds on the file. The data folder is ours, so
 * that process is a tool that a person started.
 */
const lockTimeout = 50

/** A write-ahead log that is not flushed at every commit: a power cut may lose the last seconds, never consistency. */
const settings = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA journal_size_limit = ${8 * 2 ** 20};
  PRAGMA cache_size = -16384;
`

/** An open database file with prepared statements. Every method is synchronous and throws SQLite's error. */
export class SqliteConnection implements Disposable {
  readonly #database: DatabaseSync
  readonly statement: Statements
  #records: SqliteRecords

  constructor(path: string) {
    this.#database = new DatabaseSync(path, { timeout: lockTimeout })
    try {
      // Check before anything is written: a file of a newer version stays as it is.
      const version = Number(this.#database.prepare('PRAGMA user_version').get()?.['user_version'])
      if (version > schemaVersion) {
        throw new Error(`its layout is version ${version}, and this program knows versions up to ${schemaVersion}`)
      }
      this.#database.exec(settings)
      if (version < schemaVersion) this.#migrate(version)
      this.statement = this.#prepare(statements)
      const old = this.#database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'old_tags'").get()
      this.#records = new SqliteRecords(this.statement, old && this.#prepare(oldStatements))
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  get records(): SqliteRecords {
    return this.#records
  }

  /** Moves up to `limit` rows out of the tables of version 2, and drops these when they are empty. False when they are. */
  moveOldRows(limit: number): boolean {
    if (!this.#records.hasOldTables) return false
    let isLeft = true
    this.transaction(() => {
      isLeft = this.#records.move(limit) > 0
      if (!isLeft) this.#database.exec(dropOldTables)
    })
    if (!isLeft) this.#records = new SqliteRecords(this.statement, undefined)
    return isLeft
  }

  #migrate(version: number): void {
    this.transaction(() => {
      for (const step of migrations.slice(version)) this.#database.exec(step)
      // Nothing has to be moved.
      if (version === 0) this.#database.exec(dropOldTables)
      this.#database.exec(`PRAGMA user_version = ${schemaVersion}`)
    })
  }

  #prepare<Name extends string>(texts: Readonly<Record<Name, string>>): { readonly [Each in Name]: StatementSync } {
    const prepared = Object.entries<string>(texts).map(([name, sql]) => {
      const statement = this.#database.prepare(sql)
      // A number that is too large for JavaScript is no reason to throw: the record is checked.
      statement.setReadBigInts(true)
      return [name, statement] as const
    })
    return Object.fromEntries(prepared) as { [Each in Name]: StatementSync }
  }

  /** All of the work or none of it. */
  transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.#database.exec('COMMIT')
    } catch (error) {
      // After some failures, such as a full disk, SQLite has rolled back already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

/** SQLite's primary result codes: https://www.sqlite.org/rescode.html */
const failure = 1
const corrupt = 11
const notDatabase = 26

/** Whether the content of the file is damaged, as opposed to a fault of the disk, permissions or a lock. */
export function isDamage(error: unknown): boolean {
  const code = resultCode(error)
  return code === corrupt || code === notDatabase
}

/** Like `isDamage`. While opening, tables that do not fit the file's version are damage too. */
export function isDamageAtOpen(error: unknown): boolean {
  return isDamage(error) || resultCode(error) === failure
}

function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined
  return error.errcode & 0xff
}
