import type { SQLInputValue, SQLOutputValue } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Access, AccessLog, Usage } from '../access-log.ts'
import type { Bucket, ContentIndex, Counts, Cursor, Holding, ImageCursor, TaggedImage } from '../content-index.ts'
import type { SqliteConnection } from './sqlite-connection.ts'
import type { SqliteFile } from './sqlite-file.ts'

type Statement = keyof SqliteConnection['statement']
type Row = Readonly<Record<string, SQLOutputValue>>

/** Rows deleted in one step: everything else waits meanwhile. */
const step = 200

/** Sorts before every access, in order of age. */
const beforeAll = { at: Number.MIN_SAFE_INTEGER, digest: '' } as const

/** Sorts behind every character of a repository name. */
const last = '\u{10ffff}'

/**
 * What is about one disk, in the database of a `SqliteStore`, which opens and closes it. Its work is synchronous, except
 * for large deletions.
 */
export class SqliteIndex implements ContentIndex, AccessLog {
  readonly #file: SqliteFile

  constructor(file: SqliteFile) {
    this.#file = file
  }

  async recordAccesses(accesses: readonly Access[]): Promise<void> {
    this.#file.run((connection) =>
      connection.transaction(() => {
        for (const { digest, size, at } of accesses) connection.statement.recordAccess.run(digest, size, at)
      }),
    )
  }

  async forgetAccess(digest: Digest, at: number): Promise<boolean> {
    return this.#change('forgetAccess', digest, at) === 1
  }

  async usage(): Promise<Usage> {
    const [row] = this.#all('usage')
    return { blobs: Number(row?.['blobs'] ?? 0), bytes: Number(row?.['bytes'] ?? 0) }
  }

  async lastAccess(digest: Digest): Promise<Access | undefined> {
    return accessesOf(this.#all('lastAccess', digest))[0]
  }

  async leastRecentlyUsed(after: Cursor | undefined, limit: number): Promise<readonly Access[]> {
    const { at, digest } = after ?? beforeAll
    return accessesOf(this.#all('leastRecentlyUsed', at, digest, limit))
  }

  async accessesAfter(after: Digest | undefined, limit: number): Promise<readonly Access[]> {
    return accessesOf(this.#all('accessesAfter', after ?? '', limit))
  }

  async addReferences(manifest: Digest, named: readonly Digest[]): Promise<void> {
    this.#file.run((connection) =>
      connection.transaction(() => {
        for (const digest of named) connection.statement.addReference.run(manifest, digest)
      }),
    )
  }

  async childrenOf(manifest: Digest): Promise<readonly Digest[]> {
    return digestsOf(this.#all('childrenOf', manifest))
  }

  async parentsOf(digest: Digest): Promise<readonly Digest[]> {
    return digestsOf(this.#all('parentsOf', digest))
  }

  async deleteReferences(manifest: Digest): Promise<void> {
    this.#change('deleteReferences', manifest)
  }

  async deleteLinks(digest: Digest): Promise<void> {
    await this.#changeAll('deleteLinksOfDigest', digest)
  }

  async repositoriesOf(digest: Digest): Promise<readonly string[]> {
    return this.#all('repositoriesOf', digest).map((row) => String(row['repository']))
  }

  async holdings(prefix: string, after: Holding | undefined, limit: number): Promise<readonly Holding[]> {
    const { repository, kind, digest } = after ?? { repository: prefix, kind: '', digest: '' }
    const rows = this.#all('holdings', repository, kind, digest, prefix, prefix + last, limit)
    return rows.flatMap((row) => digestsOf([row]).map((held) => holdingOf(row, held)))
  }

  async images(prefix: string, after: ImageCursor | undefined, limit: number): Promise<readonly TaggedImage[]> {
    const { repository, tag } = after ?? { repository: prefix, tag: '' }
    const rows = this.#all('images', repository, tag, prefix, prefix + last, limit)
    return rows.flatMap((row) => digestsOf([row]).map((digest) => imageOf(row, digest)))
  }

  async deleteRepository(repository: string): Promise<number> {
    await this.#changeAll('deleteLinksOfRepository', repository)
    return this.#changeAll('deleteTagsOfRepository', repository)
  }

  expire(before: number): Promise<number> {
    return this.#changeAll('deleteTagsBefore', before)
  }

  async pins(): Promise<readonly string[]> {
    return this.#all('pins').map((row) => String(row['pattern']))
  }

  async addPin(pattern: string): Promise<boolean> {
    return this.#change('addPin', pattern) > 0
  }

  async deletePin(pattern: string): Promise<boolean> {
    return this.#change('deletePin', pattern) > 0
  }

  async addCounts(bucket: number, deltas: Counts): Promise<void> {
    this.#file.run((connection) =>
      connection.transaction(() => {
        for (const [name, delta] of Object.entries(deltas)) {
          connection.statement.addToTotal.run(name, delta)
          connection.statement.addToBucket.run(bucket, name, delta)
        }
      }),
    )
  }

  async totals(): Promise<Counts> {
    return countsOf(this.#all('totals'))
  }

  async buckets(from: number): Promise<readonly Bucket[]> {
    const rows = Map.groupBy(this.#all('buckets', from), (row) => Number(row['at']))
    return [...rows].map(([at, counts]) => ({ at, counts: countsOf(counts) }))
  }

  async deleteBuckets(before: number): Promise<void> {
    await this.#changeAll('deleteBuckets', before)
  }

  #all(name: Statement, ...parameters: SQLInputValue[]): Row[] {
    return this.#file.run(({ statement }) => statement[name].all(...parameters))
  }

  /** Returns the number of rows changed. */
  #change(name: Statement, ...parameters: SQLInputValue[]): number {
    return Number(this.#file.run(({ statement }) => statement[name].run(...parameters)).changes)
  }

  /** Repeats a statement, whose last parameter bounds the rows it changes, until it changes no more. */
  async #changeAll(name: Statement, ...parameters: SQLInputValue[]): Promise<number> {
    let total = 0
    for (;;) {
      const changed = this.#change(name, ...parameters, step)
      total += changed
      if (changed < step) return total
      await turn()
    }
  }
}

function holdingOf(row: Row, digest: Digest): Holding {
  return { repository: String(row['repository']), kind: row['kind'] === 'manifest' ? 'manifest' : 'blob', digest }
}

function imageOf(row: Row, digest: Digest): TaggedImage {
  return {
    repository: String(row['repository']),
    tag: String(row['tag']),
    digest,
    mediaType: String(row['media_type']),
    checkedAt: Number(row['checked_at']),
  }
}

function countsOf(rows: readonly Row[]): Counts {
  return Object.fromEntries(rows.map((row) => [String(row['name']), Number(row['value'])]))
}

/** The digests of rows. Skips a value that is not a digest. */
function digestsOf(rows: readonly Row[]): Digest[] {
  return rows.flatMap((row) => parseDigest(String(row['digest'])) ?? [])
}

function accessesOf(rows: readonly Row[]): Access[] {
  return rows.flatMap((row) => {
    const [digest] = digestsOf([row])
    return digest ? { digest, size: Number(row['size']), at: Number(row['at']) } : []
  })
}
