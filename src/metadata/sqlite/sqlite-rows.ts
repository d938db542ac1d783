import type { SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { isFullRepositoryName } from '../../oci/reference.ts'
import type { Access } from '../access-log.ts'
import type { Holding, TaggedImage } from '../content-index.ts'
import type { Link, TagRecord } from '../metadata-store.ts'
import { parseAccess, parseHolding, parseImage, parseLink, parseTag, type RawRecord } from '../records.ts'
import { digestOfBytes } from './stored-digest.ts'

/** A digest is text in the tables of version 2, and bytes since. */
export type Row = Readonly<Record<string, SQLOutputValue>>

export function digestOfRow(row: Row): Digest | undefined {
  return parseDigest(String(digestText(row)))
}

export function tagOfRow(row: Row): TagRecord | undefined {
  return parseTag(tagFieldsOf(row))
}

export function imageOfRow(row: Row): TaggedImage | undefined {
  return parseImage({ ...tagFieldsOf(row), repository: row['repository'], tag: row['tag'] })
}

function tagFieldsOf(row: Row): RawRecord<TagRecord> {
  const { size, etag } = row
  return { digest: digestText(row), mediaType: row['media_type'], size, etag, checkedAt: row['checked_at'] }
}

export function linkOfRow(row: Row): Link | undefined {
  return parseLink({
    kind: row['kind'],
    digest: digestText(row),
    size: row['size'],
    mediaType: row['media_type'],
    visibility: row['visibility'],
  })
}

export function holdingOfRow(row: Row): Holding | undefined {
  return parseHolding({ repository: row['repository'], kind: row['kind'], digest: digestText(row) })
}

export function repositoriesOfRows(rows: readonly Row[]): string[] {
  return rows.map((row) => String(row['repository'])).filter(isFullRepositoryName)
}

export function accessOfRow(row: Row): Access | undefined {
  return parseAccess({ digest: digestText(row), size: row['size'], at: row['at'] })
}

/**
 * The first `limit` records that pass, of the first rows that `ask` returns. A row that does not pass does not make the
 * list shorter, which would look like its end.
 */
export function firstOf<Value>(
  limit: number,
  ask: (rows: number) => readonly Row[],
  parse: (row: Row) => Value | undefined,
): Value[] {
  for (let wanted = limit; ; wanted *= 2) {
    const rows = ask(wanted)
    const values = rows.map(parse).filter((value) => value !== undefined)
    if (values.length >= limit || rows.length < wanted) return values.slice(0, limit)
  }
}

/** Runs a statement. Returns the number of rows that it changed, without those that triggers changed. */
export function changes(statement: StatementSync, ...parameters: SQLInputValue[]): number {
  return Number(statement.run(...parameters).changes)
}

function digestText({ digest }: Row): unknown {
  return typeof digest === 'string' ? digest : digestOfBytes(digest)
}
