export const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json'
export const dockerManifestList = 'application/vnd.docker.distribution.manifest.list.v2+json'
export const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
export const ociIndex = 'application/vnd.oci.image.index.v1+json'
export const ociArtifact = 'application/vnd.oci.artifact.manifest.v1+json'
export const schema1 = 'application/vnd.docker.distribution.manifest.v1+json'
export const signedSchema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
export const octetStream = 'application/octet-stream'

/**
 * The `Accept` header of every manifest request, whatever the client sent: a tag must resolve to the same digest for all
 * clients. Without the list types Docker Hub down-converts to amd64, and without the OCI types quay.io sends schema 1.
 */
export const acceptManifests = [ociIndex, ociManifest, dockerManifestList, dockerManifest, '*/*;q=0.1'].join(', ')

const indexes = new Set([dockerManifestList, ociIndex])
const manifests = new Set([dockerManifest, ociManifest])
const schemas1 = new Set([schema1, signedSchema1])

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

export function isSchema1(mediaType: string): boolean {
  return schemas1.has(mediaType)
}

/** Whether content of this type is served as a manifest, and not as a blob. */
export function isManifestType(mediaType: string): boolean {
  return isIndex(mediaType) || isImageManifest(mediaType) || isSchema1(mediaType) || mediaType === ociArtifact
}

/** Whether content of this type is always served as a blob: layers, configs, and what BuildKit's cache adds. */
export function isBlobType(mediaType: string): boolean {
  return blobTypes.test(mediaType)
}

const blobTypes =
  /^application\/(vnd\.oci\.image\.(layer|config)\.|vnd\.docker\.(image\.rootfs|container\.image)\.|vnd\.buildkit\.cacheconfig\.|vnd\.oci\.empty\.|octet-stream$)/
