import { createHash } from 'node:crypto'
import { link, mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { type Digest, digestOf, hexOf, parseDigest } from '../../src/oci/digest.ts'
import { octetStream } from '../../src/oci/media-type.ts'
import { sliceSize, synthetic } from '../support/bytes.ts'
import { image, type TestImage } from '../support/image.ts'

const layerType = 'application/vnd.oci.image.layer.v1.tar'

export interface Published {
  readonly image: TestImage
  readonly tag: string
}

/**
 * What the upstream holds, as files that nginx can serve without further knowledge:
 *
 *     blobs/<hex>
 *     manifests/<hex>      also under its tag, which is `v-<hex>`, so that nginx can tell the digest of a tag
 *
 * Every repository holds all of it.
 */
export class Content {
  readonly root: string
  #seed = 1

  private constructor(root: string) {
    this.root = root
  }

  static async create(root: string): Promise<Content> {
    for (const folder of ['blobs', 'manifests']) await mkdir(join(root, folder), { recursive: true })
    return new Content(root)
  }

  blobPath(digest: Digest): string {
    return join(this.root, 'blobs', hexOf(digest))
  }

  /** Noise, unlike any that was there before. */
  async addNoise(size: number): Promise<Descriptor> {
    this.#seed += 1
    const bytes = synthetic(size, this.#seed)
    const hash = createHash('sha256')
    const path = join(this.root, 'blobs', `new-${this.#seed}`)
    const file = await open(path, 'w', 0o644)
    try {
      for (let start = 0; start < size; start += sliceSize) {
        const slice = bytes.slice(start, Math.min(start + sliceSize, size))
        hash.update(slice)
        await file.write(slice)
      }
      // What still waited for the disk would be written at somebody's expense.
      await file.sync()
    } finally {
      await file.close()
    }
    const digest = parseDigest(`sha256:${hash.digest('hex')}`)
    if (!digest) throw new Error('a digest that is none')
    await rename(path, this.blobPath(digest))
    return { mediaType: layerType, digest, size }
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.blobPath(digest))
  }

  async addBlob(body: Buffer): Promise<Descriptor> {
    const digest = digestOf(body)
    await writeFile(this.blobPath(digest), body, { mode: 0o644 })
    return { mediaType: octetStream, digest, size: body.length }
  }

  /** An image of layers that are there already, with a config of about 1.5 KiB. */
  async addImage(layers: readonly Descriptor[]): Promise<Published> {
    this.#seed += 1
    const labels = Object.fromEntries(
      Array.from({ length: 12 }, (_, at) => [`org.example.label-${at}`, 'x'.repeat(64)]),
    )
    const built = image({ layers: [], described: layers, config: { config: { Labels: labels, seed: this.#seed } } })
    await this.addBlob(built.config.body)
    const hex = hexOf(built.manifest.digest)
    const tag = `v-${hex}`
    const path = join(this.root, 'manifests', hex)
    await writeFile(path, built.manifest.body, { mode: 0o644 })
    await link(path, join(this.root, 'manifests', tag))
    return { image: built, tag }
  }
}
