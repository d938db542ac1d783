import type { SQLInputValue } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '../../oci/digest.ts'
import type { Access, AccessLog, Usage } from '../access-log.ts'
import type { Bucket, ContentIndex, Counts, Cursor, Holding, ImageCursor, TaggedImage } from '../content-index.ts'
import type { PinFile } from '../pin-file.ts'
import type { Statements } from './current-tables.ts'
import type { SqliteConnection } from './sqlite-connection.ts'
import type { SqliteFile } from './sqlite-file.ts'
import { changes, type Row } from './sqlite-rows.ts'

/** Rows deleted in one step: everything else waits meanwhile. */
const step = 200

/**
 * What is about one disk, in the database of a `SqliteStore`, which opens and closes it. Its work is synchronous, except
 * for large deletions.
 */
export class SqliteIndex implements ContentIndex, AccessLog {
  readonly #file: SqliteFile
  readonly #pins: PinFile

  constructor(file: SqliteFile, pins: PinFile) {
    this.#file = file
    this.#pins = pins
  }

  async recordAccesses(accesses: readonly Access[]): Promise<void> {
    this.#file.write(({ records }) => {
      for (const access of accesses) records.recordAccess(access)
    })
  }

  async forgetAccess(digest: Digest, at: number): Promise<boolean> {
    return this.#file.run(({ records }) => records.deleteAccess(digest, at)) === 1
  }

  async usage(): Promise<Usage> {
    const [row] = this.#all('usage')
    return { blobs: Number(row?.['blobs'] ?? 0), bytes: Number(row?.['bytes'] ?? 0) }
  }

  async lastAccess(digest: Digest): Promise<Access | undefined> {
    return this.#file.run(({ records }) => records.access(digest))
  }

  async leastRecentlyUsed(after: Cursor | undefined, limit: number): Promise<readonly Access[]> {
    return this.#file.run(({ records }) => records.leastRecentlyUsed(after, limit))
  }

  async accessesAfter(after: Digest | undefined, limit: number): Promise<readonly Access[]> {
    return this.#file.run(({ records }) => records.accessesAfter(after, limit))
  }

  async addReferences(manifest: Digest, named: readonly Digest[]): Promise<void> {
    this.#file.write(({ records }) => records.addReferences(manifest, named))
  }

  async childrenOf(manifest: Digest): Promise<readonly Digest[]> {
    return this.#file.run(({ records }) => records.childrenOf(manifest))
  }

  async parentsOf(digest: Digest): Promise<readonly Digest[]> {
    return this.#file.run(({ records }) => records.parentsOf(digest))
  }

  async deleteReferences(manifest: Digest): Promise<void> {
    await this.#deleteAll(({ records }) => records.deleteReferences(manifest, step))
  }

  async deleteLinks(digest: Digest): Promise<void> {
    await this.#deleteAll(({ records }) => records.deleteLinks(digest, step))
  }

  async repositoriesOf(digest: Digest): Promise<readonly string[]> {
    return [...new Set(this.#file.run(({ records }) => records.repositoriesOf(digest)))].sort()
  }

  async holdings(prefix: string, after: Holding | undefined, limit: number): Promise<readonly Holding[]> {
    return this.#file.run(({ records }) => records.holdings({ prefix, after, limit }))
  }

  async images(prefix: string, after: ImageCursor | undefined, limit: number): Promise<readonly TaggedImage[]> {
    return this.#file.run(({ records }) => records.images({ prefix, after, limit }))
  }

  async deleteRepository(repository: string): Promise<number> {
    await this.#deleteAll(({ records }) => records.deleteLinksOfRepository(repository, step))
    return this.#deleteAll(({ records }) => records.deleteTagsOfRepository(repository, step))
  }

  expire(before: number): Promise<number> {
    return this.#deleteAll(({ records }) => records.deleteTagsBefore(before, step))
  }

  async pins(): Promise<readonly string[]> {
    return this.#pins.list()
  }

  async addPin(pattern: string): Promise<boolean> {
    return this.#pins.add(pattern)
  }

  async deletePin(pattern: string): Promise<boolean> {
    return this.#pins.delete(pattern)
  }

  async addCounts(bucket: number, deltas: Counts): Promise<void> {
    this.#file.write(({ statement }) => {
      for (const [name, delta] of Object.entries(deltas)) {
        statement.addToTotal.run(name, delta)
        statement.addToBucket.run(bucket, name, delta)
      }
    })
  }

  async totals(): Promise<Counts> {
    return countsOf(this.#all('totals'))
  }

  async buckets(from: number): Promise<readonly Bucket[]> {
    const rows = Map.groupBy(this.#all('buckets', from), (row) => Number(row['at']))
    return [...rows].map(([at, counts]) => ({ at, counts: countsOf(counts) }))
  }

  async deleteBuckets(before: number): Promise<void> {
    await this.#deleteAll(({ statement }) => changes(statement.deleteBuckets, before, step))
  }

  #all(name: keyof Statements, ...parameters: SQLInputValue[]): Row[] {
    return this.#file.run(({ statement }) => statement[name].all(...parameters))
  }

  /** Repeats a deletion of at most `step` rows, which returns their number, until there are no more. */
  async #deleteAll(deletion: (connection: SqliteConnection) => number): Promise<number> {
    let total = 0
    for (;;) {
      const deleted = this.#file.run(deletion)
      total += deleted
      if (deleted < step) return total
      await turn()
    }
  }
}

function countsOf(rows: readonly Row[]): Counts {
  return Object.fromEntries(rows.map((row) => [String(row['name']), Number(row['value'])]))
}
