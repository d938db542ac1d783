import type { ContentIndex } from '../../metadata/content-index.ts'
import type { MetadataTier } from '../../metadata/metadata-store.ts'
import { algorithmOf, digestOf } from '../../oci/digest.ts'
import type { BlobStore, StoredBlob } from '../../storage/blob-store.ts'
import type { Fills } from '../fill/fills.ts'
import { type Integrity, integrityOf } from '../integrity.ts'
import { linksOf, namesOf, readManifest } from '../manifests.ts'
import type { Observer } from '../observer.ts'
import { Pace } from './pace.ts'

export interface RebuildOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: Pick<ContentIndex, 'addReferences' | 'repositoriesOf'>
  readonly fills: Pick<Fills, 'discard' | 'exclude'>
  readonly observer: Observer
  readonly now: () => number
  readonly signal: AbortSignal
}

/** Blobs without a size are hashed, at so many bytes a second: the store is not under its bound before all is recorded. */
const hashRate = 128 * 2 ** 20

/**
 * Restores lost metadata from the store: links from the notes beside the manifests, last uses from the blobs. Tags come
 * back when clients next ask for them. Meanwhile the mirror works: a missing link is proven by the upstream.
 *
 * A blob is recorded where it has the size that a stored manifest gives it, or where its bytes match its digest. One that
 * has been cut short is removed.
 */
export async function rebuild(options: RebuildOptions): Promise<void> {
  const { store, metadata, fills, observer, now, signal } = options
  const pace = new Pace({ rate: hashRate, now, signal })
  try {
    for await (const blob of store.list()) {
      if (signal.aborted) return
      await relink(blob, options)
    }
    for await (const blob of store.list()) {
      if (signal.aborted) return
      const integrity = await integrityOfListed(blob, pace, options)
      // It may have been evicted since it was listed.
      if (integrity === 'intact') {
        await fills.exclude(blob.digest, async () => {
          const stored = await store.stat(blob.digest)
          if (stored) await metadata.recordAccesses([{ ...stored, at: now() }])
        })
      }
      if (integrity === 'damaged') await fills.discard(blob.digest)
    }
  } catch (error) {
    if (!signal.aborted) observer.storeFailed('metadata', error)
  }
}

async function integrityOfListed(
  { digest, size }: StoredBlob,
  pace: Pace,
  { store, metadata, index }: RebuildOptions,
): Promise<Integrity> {
  for (const repository of await index.repositoriesOf(digest)) {
    if ((await metadata.link(repository, 'blob', digest))?.size === size) return 'intact'
  }
  return await integrityOf(store, digest, (bytes) => pace.spent(bytes))
}

/** Restores the links and references of a stored manifest from the note beside it. */
export async function relink(
  { digest, note }: StoredBlob,
  {
    store,
    metadata,
    index,
  }: Pick<RebuildOptions, 'store' | 'metadata'> & { index: Pick<ContentIndex, 'addReferences'> },
): Promise<void> {
  if (!note) return
  const body = await readManifest(store, digest)
  // A damaged manifest must prove nothing.
  if (!body || digestOf(body, algorithmOf(digest)) !== digest) return
  for (const [repository, visibility] of Object.entries(note.repositories)) {
    const links = linksOf({ digest, mediaType: note.mediaType, size: body.length, body }, visibility)
    await metadata.restoreLinks(repository, links)
    await index.addReferences(digest, namesOf(digest, links))
  }
}
