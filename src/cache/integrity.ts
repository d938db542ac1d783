import { type Digest, hasherFor, hexOf } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'

/** `damaged`: its bytes are not its digest's, or cannot be read. */
export type Integrity = 'intact' | 'damaged' | 'absent'

/**
 * Reads a stored blob whole. `spent` is told of every piece, and may make the reading wait; where it rejects, so does
 * this. Rejects too where the store fails before there is anything to read.
 */
export async function integrityOf(
  store: Pick<BlobStore, 'open'>,
  digest: Digest,
  spent: (bytes: number) => Promise<void>,
): Promise<Integrity> {
  const blob = await store.open(digest)
  if (!blob) return 'absent'
  const reader = blob.reader({ start: 0, end: blob.size - 1 })
  const hash = hasherFor(digest)
  try {
    for (;;) {
      // A disk that cannot read it back is as bad as wrong.
      const bytes = await reader.read().catch(() => 'unreadable' as const)
      if (bytes === 'unreadable') return 'damaged'
      if (bytes === undefined) return hash.digest('hex') === hexOf(digest) ? 'intact' : 'damaged'
      hash.update(bytes)
      await spent(bytes.length)
    }
  } finally {
    await reader.close()
  }
}
