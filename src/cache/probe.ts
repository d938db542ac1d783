import type { Descriptor } from '../oci/descriptor.ts'
import { type Digest, digestOf } from '../oci/digest.ts'
import { ociIndex, ociManifest, octetStream } from '../oci/media-type.ts'
import type { Reference } from '../oci/reference.ts'
import type { KeptManifest } from './content-cache.ts'

/** A reserved name. No upstream is ever asked for it. */
export const probeName = 'entrepot/probe'

const platforms = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64', variant: 'v8' },
  { os: 'linux', architecture: 'arm', variant: 'v7' },
  { os: 'linux', architecture: 'arm', variant: 'v6' },
  { os: 'linux', architecture: '386' },
  { os: 'linux', architecture: 'ppc64le' },
  { os: 'linux', architecture: 's390x' },
  { os: 'linux', architecture: 'riscv64' },
  { os: 'linux', architecture: 'loong64' },
] as const

/**
 * An image that exists in this process only: a client that can pull it uses this mirror. Docker and containerd silently
 * fall back to the upstream, so without a probe an unused mirror looks like one that works.
 *
 * Its only tag is the nonce. The tag is an index for the common platforms, which share one tiny layer. The layer
 * contains the nonce, so no client can have the image from an earlier start.
 */
export class Probe {
  readonly nonce: string
  readonly #index: KeptManifest
  readonly #manifests = new Map<Digest, KeptManifest>()
  readonly #blobs = new Map<Digest, Buffer>()

  constructor(nonce: string) {
    this.nonce = nonce
    const layer = this.#addBlob(tarOf('entrepot-probe', `${nonce}\n`), 'application/vnd.oci.image.layer.v1.tar')
    const children = platforms.map((platform) => {
      const config = this.#addBlob(configOf(platform, layer.digest), 'application/vnd.oci.image.config.v1+json')
      const manifest = this.#addManifest(ociManifest, { config, layers: [layer] })
      return { ...descriptorOf(manifest), platform }
    })
    this.#index = this.#addManifest(ociIndex, { manifests: children })
  }

  /** `entrepot/probe:<nonce>`. */
  get reference(): string {
    return `${probeName}:${this.nonce}`
  }

  /** Undefined for every tag except the nonce, and for every digest that is not part of the probe. */
  manifest(reference: Reference): KeptManifest | undefined {
    if ('tag' in reference) return reference.tag === this.nonce ? this.#index : undefined
    return this.#manifests.get(reference.digest)
  }

  blob(digest: Digest): Buffer | undefined {
    return this.#blobs.get(digest)
  }

  #addManifest(mediaType: string, content: object): KeptManifest {
    const body = json({ schemaVersion: 2, mediaType, ...content })
    const manifest = { mediaType, digest: digestOf(body), size: body.length, body }
    this.#manifests.set(manifest.digest, manifest)
    return manifest
  }

  #addBlob(body: Buffer, mediaType: string = octetStream): Descriptor {
    const digest = digestOf(body)
    this.#blobs.set(digest, body)
    return { mediaType, digest, size: body.length }
  }
}

function descriptorOf({ mediaType, digest, size }: KeptManifest): Descriptor {
  return { mediaType, digest, size }
}

/** image-spec, config.md. The layer is not compressed, so its digest is its diff id. */
function configOf(platform: object, diffId: Digest): Buffer {
  return json({
    ...platform,
    created: '1970-01-01T00:00:00Z',
    config: { Labels: { 'org.opencontainers.image.title': 'entrepot probe' } },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created: '1970-01-01T00:00:00Z', created_by: 'entrepot' }],
  })
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** A tar archive (POSIX ustar) of one small text file. */
function tarOf(name: string, text: string): Buffer {
  const header = Buffer.alloc(512)
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`
  header.write(name, 0)
  header.write(octal(0o444, 8), 100)
  header.write(octal(0, 8), 108)
  header.write(octal(0, 8), 116)
  header.write(octal(Buffer.byteLength(text), 12), 124)
  header.write(octal(0, 12), 136)
  header.write('        ', 148)
  header.write('0', 156)
  header.write('ustar\x0000', 257, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  const body = Buffer.alloc(512)
  body.write(text)
  return Buffer.concat([header, body, Buffer.alloc(1024)])
}
