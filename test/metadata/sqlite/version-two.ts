import { DatabaseSync } from 'node:sqlite'
import type { Access } from '../../../src/metadata/access-log.ts'
import type { Link, TagRecord } from '../../../src/metadata/metadata-store.ts'
import { migrations } from '../../../src/metadata/sqlite/sqlite-schema.ts'
import type { Digest } from '../../../src/oci/digest.ts'

/** What a database of version 2 is to have. */
export interface VersionTwo {
  readonly tags?: readonly (TagRecord & { readonly repository: string; readonly tag: string })[]
  readonly links?: readonly (Link & { readonly repository: string })[]
  readonly uses?: readonly Access[]
  /** Manifest, and what it names. */
  readonly names?: readonly (readonly [Digest, Digest])[]
  readonly pins?: readonly string[]
}

/** Makes a database as version 2 wrote it. */
export function writeVersionTwo(
  path: string,
  { tags = [], links = [], uses = [], names = [], pins = [] }: VersionTwo,
): void {
  using database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; BEGIN')
  for (const step of migrations.slice(0, 2)) database.exec(step)
  const insert = (table: string, values: number) =>
    database.prepare(`INSERT INTO ${table} VALUES (${Array.from({ length: values }, () => '?').join(', ')})`)
  const [tagRow, linkRow, useRow, nameRow] = [
    insert('tags', 7),
    insert('links', 6),
    insert('uses', 3),
    insert('manifest_names', 2),
  ]
  for (const { repository, tag, digest, mediaType, size, etag, checkedAt } of tags) {
    tagRow.run(repository, tag, digest, mediaType, size, etag ?? null, checkedAt)
  }
  for (const { repository, kind, digest, size, mediaType, visibility } of links) {
    linkRow.run(repository, kind, digest, size ?? null, mediaType, visibility)
  }
  for (const { digest, size, at } of uses) useRow.run(digest, size, at)
  for (const pattern of pins) insert('pins', 1).run(pattern)
  for (const [manifest, named] of names) nameRow.run(manifest, named)
  database.exec('PRAGMA user_version = 2; COMMIT')
}
