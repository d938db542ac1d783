import type { Digest } from '../../../src/oci/digest.ts'
import type { Process } from './process.ts'

/** Whoever answers for the content, whatever its paths. */
export interface Server extends AsyncDisposable {
  readonly name: string
  readonly process: Process
  blobUrl(digest: Digest): string
  manifestUrl(reference: string): string
}

/** One that keeps what it has fetched. */
export interface Cache extends Server {
  /** Bytes it holds of a blob; undefined until it is stored. */
  storedSize(digest: Digest): Promise<number | undefined>
  /** Gives back the disk of a blob that nobody will ask for again; the server is not told. */
  removeFile(digest: Digest): Promise<void>
}

/** What containerd sends with a manifest's request; docker-registry gives no OCI manifest to who does not ask. */
export const acceptManifests = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ')

/** The repository that everything is pulled from. */
export const repository = 'library/bench'

export function registryBlobUrl(url: string, digest: Digest, name: string = repository): string {
  return `${url}/v2/${name}/blobs/${digest}`
}

export function registryManifestUrl(url: string, reference: string, name: string = repository): string {
  return `${url}/v2/${name}/manifests/${reference}`
}
