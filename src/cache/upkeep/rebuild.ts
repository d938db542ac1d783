import type { ContentIndex } from '../../metadata/content-index.ts'
import type { MetadataTier } from '../../metadata/metadata-store.ts'
import { algorithmOf, digestOf } from '../../oci/digest.ts'
import type { BlobStore, StoredBlob } from '../../storage/blob-store.ts'
import { linksOf, namesOf, readManifest } from '../manifests.ts'
import type { Observer } from '../observer.ts'

export interface RebuildOptions {
  readonly store: BlobStore
  readonly metadata: MetadataTier
  readonly index: Pick<ContentIndex, 'addReferences'>
  readonly observer: Observer
  readonly now: () => number
  readonly signal: AbortSignal
}

/**
 * Restores lost metadata from the store: last uses from the blobs, links from the notes beside the manifests. Tags come
 * back when clients next ask for them. Meanwhile the mirror works: a missing link is proven by the upstream.
 */
export async function rebuild(options: RebuildOptions): Promise<void> {
  const { store, metadata, observer, now, signal } = options
  try {
    for await (const blob of store.list()) {
      if (signal.aborted) return
      await metadata.recordAccesses([{ digest: blob.digest, size: blob.size, at: now() }])
      await relink(blob, options)
    }
  } catch (error) {
    observer.storeFailed('metadata', error)
  }
}

/** Restores the links and references of a stored manifest from the note beside it. */
export async function relink(
  { digest, note }: StoredBlob,
  { store, metadata, index }: Pick<RebuildOptions, 'store' | 'metadata' | 'index'>,
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
