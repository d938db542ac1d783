import { isObject, parseObject } from '../oci/manifest.ts'
import { isMediaType } from '../oci/media-type.ts'
import { isFullRepositoryName } from '../oci/reference.ts'
import type { ManifestNote } from './blob-store.ts'

type Visibility = ManifestNote['repositories'][string]

/** A note of more bytes is none. */
export const maxNoteSize = 4 * 1024 * 1024

/**
 * What is read beside a manifest is believed only if it could have been written. Undefined for text that is no note; a
 * repository that cannot be one, or of which it is not said how openly it holds the manifest, is left out.
 */
export function parseNote(text: Buffer): ManifestNote | undefined {
  const parsed = text.length <= maxNoteSize ? parseObject(text) : undefined
  const { mediaType, repositories } = parsed ?? {}
  if (typeof mediaType !== 'string' || !isMediaType(mediaType) || !isObject(repositories)) return undefined
  const known = Object.entries(repositories).filter(
    (entry): entry is [string, Visibility] => isFullRepositoryName(entry[0]) && isVisibility(entry[1]),
  )
  return { mediaType, repositories: Object.fromEntries(known) }
}

/** What both notes say. What was public stays public. */
export function mergeNotes(known: ManifestNote | undefined, note: ManifestNote): ManifestNote {
  const repositories: Record<string, Visibility> = { ...known?.repositories, ...note.repositories }
  for (const [name, visibility] of Object.entries(known?.repositories ?? {})) {
    if (visibility === 'public') repositories[name] = visibility
  }
  return { mediaType: note.mediaType, repositories }
}

function isVisibility(value: unknown): value is Visibility {
  return value === 'public' || value === 'unproven'
}
