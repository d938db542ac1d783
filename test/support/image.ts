import { gunzipSync } from 'node:zlib'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { dockerManifest, dockerManifestList, ociIndex, ociManifest } from '../../src/oci/media-type.ts'
import { allOf, synthetic } from './bytes.ts'

export interface TestManifest extends Descriptor {
  readonly body: Buffer
}

export interface TestBlob extends Descriptor {
  readonly body: Buffer
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

export interface TestImage {
  readonly manifest: TestManifest
  readonly config: TestBlob
  readonly layers: readonly TestBlob[]
  readonly platform: Platform
}

export interface TestIndex {
  readonly manifest: TestManifest
  readonly images: readonly TestImage[]
}

export type Flavour = 'oci' | 'docker'

export interface ImageOptions {
  /** Default: one layer of 64 KiB of noise. */
  readonly layers?: readonly Buffer[]
  /** Layers that are named in the manifest, after `layers`, and not built: synthetic or absent ones. */
  readonly described?: readonly Descriptor[]
  readonly flavour?: Flavour
  readonly platform?: Platform
  readonly annotations?: Readonly<Record<string, string>>
  readonly artifactType?: string
  /** Makes it a referrer. */
  readonly subject?: Descriptor
  /** Merged into the image config: a way to make an image unlike any other. */
  readonly config?: Readonly<Record<string, unknown>>
}

const mediaTypes = {
  oci: {
    manifest: ociManifest,
    index: ociIndex,
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar',
    gzipLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    manifest: dockerManifest,
    index: dockerManifestList,
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar',
    gzipLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const

/** Deterministic noise: the same size and seed give the same bytes. */
export function randomBlob(size: number, seed = 1): Buffer {
  return allOf(synthetic(size, seed))
}

export function image(options: ImageOptions = {}): TestImage {
  const types = mediaTypes[options.flavour ?? 'oci']
  const platform = options.platform ?? { os: 'linux', architecture: 'amd64' }
  const built = (options.layers ?? [randomBlob(65536)]).map((body) => {
    const diffId = diffIdOf(body)
    return { diffId, layer: blob(body, diffId === digestOf(body) ? types.layer : types.gzipLayer) }
  })
  const layers = built.map(({ layer }) => layer)
  const diffIds = [...built.map(({ diffId }) => diffId), ...(options.described ?? []).map(({ digest }) => digest)]
  const config = blob(
    json({ ...platform, config: {}, rootfs: { type: 'layers', diff_ids: diffIds }, ...options.config }),
    types.config,
  )
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    ...(options.artifactType && { artifactType: options.artifactType }),
    config: descriptorOf(config),
    layers: [...layers, ...(options.described ?? [])].map(descriptorOf),
    ...(options.subject && { subject: descriptorOf(options.subject) }),
    ...(options.annotations && { annotations: options.annotations }),
  }
  return { manifest: blob(json(manifest), types.manifest), config, layers, platform }
}

/** A multi-platform image: an OCI index, or a Docker manifest list. */
export function index(images: readonly TestImage[], flavour: Flavour = 'oci'): TestIndex {
  const mediaType = mediaTypes[flavour].index
  const manifests = images.map(({ manifest, platform }) => ({ ...descriptorOf(manifest), platform }))
  return { manifest: blob(json({ schemaVersion: 2, mediaType, manifests }), mediaType), images }
}

export function descriptorOf({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size }
}

function blob(body: Buffer, mediaType: string): TestBlob {
  return { mediaType, body, digest: digestOf(body), size: body.length }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** The digest of the uncompressed layer (image-spec, config.md#layer-diffid); noise is its own. */
function diffIdOf(body: Buffer): Digest {
  if (body[0] !== 0x1f || body[1] !== 0x8b) return digestOf(body)
  try {
    return digestOf(gunzipSync(body))
  } catch {
    return digestOf(body)
  }
}
