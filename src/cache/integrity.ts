import { type Digest, hasherFor, hexOf } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'

/** `damaged`: the bytes do not match the digest, or cannot be read. */
export type Integrity = 'intact' | 'damaged' | 'absent'

/**
 * Reads a whole stored blob and compares it with its digest. Calls `spent` for every piece and waits for it; rejects
 * where it rejects, and where the blob cannot be opened.
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
      // A blob that the disk cannot read is as useless as a wrong one.
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
