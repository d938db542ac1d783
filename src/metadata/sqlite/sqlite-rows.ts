import type { SQLOutputValue } from 'node:sqlite'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Use } from '../metadata-store.ts'

export type Row = Readonly<Record<string, SQLOutputValue>>

/** In front of every use there is, in order of age. */
export const beforeAll = { at: Number.MIN_SAFE_INTEGER, digest: '' } as const

/** The digests of rows; one that is none is passed over. */
export function digestsOf(rows: readonly Row[]): Digest[] {
  return rows.flatMap((row) => parseDigest(String(row['digest'])) ?? [])
}

export function usesOf(rows: readonly Row[]): Use[] {
  return rows.flatMap((row) => {
    const [digest] = digestsOf([row])
    return digest ? { digest, size: Number(row['size']), at: Number(row['at']) } : []
  })
}
