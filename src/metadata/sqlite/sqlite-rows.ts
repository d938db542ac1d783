import type { SQLOutputValue } from 'node:sqlite'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Access } from '../access-log.ts'

export type Row = Readonly<Record<string, SQLOutputValue>>

/** Sorts before every access, in order of age. */
export const beforeAll = { at: Number.MIN_SAFE_INTEGER, digest: '' } as const

/** The digests of rows. Skips a value that is not a digest. */
export function digestsOf(rows: readonly Row[]): Digest[] {
  return rows.flatMap((row) => parseDigest(String(row['digest'])) ?? [])
}

export function accessesOf(rows: readonly Row[]): Access[] {
  return rows.flatMap((row) => {
    const [digest] = digestsOf([row])
    return digest ? { digest, size: Number(row['size']), at: Number(row['at']) } : []
  })
}
