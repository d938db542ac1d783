import { ociIndex } from '../../src/oci/media-type.ts'
import { type Answer, jsonAnswer } from './answer.ts'
import type { StoredManifest } from './content.ts'

interface Parsed {
  readonly artifactType?: string
  readonly config?: { readonly mediaType?: string }
  readonly subject?: { readonly digest?: string }
  readonly annotations?: Readonly<Record<string, string>>
}

/** The manifests whose subject is `digest`, as an OCI index (distribution-spec, "Listing Referrers"). */
export function listReferrers(stored: StoredManifest[], digest: string, artifactType: string | undefined): Answer {
  const manifests = stored
    .map((manifest) => ({ manifest, parsed: parse(manifest.body) }))
    .filter(({ parsed }) => parsed.subject?.digest === digest)
    .map(({ manifest, parsed }) => ({
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.body.length,
      artifactType: parsed.artifactType ?? parsed.config?.mediaType,
      annotations: parsed.annotations,
    }))
    .filter((descriptor) => artifactType === undefined || descriptor.artifactType === artifactType)
  return jsonAnswer(
    200,
    { schemaVersion: 2, mediaType: ociIndex, manifests },
    { 'content-type': ociIndex, ...(artifactType && { 'oci-filters-applied': 'artifactType' }) },
  )
}

function parse(body: Buffer): Parsed {
  try {
    return JSON.parse(body.toString()) as Parsed
  } catch {
    return {}
  }
}
