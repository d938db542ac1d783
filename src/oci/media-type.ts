export const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json'
export const dockerManifestList = 'application/vnd.docker.distribution.manifest.list.v2+json'
export const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
export const ociIndex = 'application/vnd.oci.image.index.v1+json'
export const octetStream = 'application/octet-stream'

/**
 * The `Accept` header of every manifest request, whatever the client sent: a tag must resolve to the same digest for all
 * clients. Without the list types Docker Hub down-converts to amd64, and without the OCI types quay.io sends schema 1.
 */
export const acceptManifests = [ociIndex, ociManifest, dockerManifestList, dockerManifest, '*/*;q=0.1'].join(', ')

const indexes = new Set([dockerManifestList, ociIndex])
const manifests = new Set([dockerManifest, ociManifest])

/** The media type without parameters, lower-case: `Text/Plain; charset=utf-8` → `text/plain`. */
export function essence(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
}

/** Whether it is a media type without parameters (RFC 6838 §4.2). Such a text is safe in a header. */
export function isMediaType(text: string): boolean {
  return /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i.test(text)
}

export function isIndex(mediaType: string): boolean {
  return indexes.has(mediaType)
}

export function isImageManifest(mediaType: string): boolean {
  return manifests.has(mediaType)
}
