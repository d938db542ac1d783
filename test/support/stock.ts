import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { type Bytes, bytesOf, digestOfBytes, synthetic } from './bytes.ts'
import { Content } from './content.ts'
import type { TestImage, TestIndex } from './image.ts'

/** Where a registry keeps what another one serves, under a prefix of its own. */
export interface Elsewhere {
  readonly stock: Stock
  readonly prefix: string
}

/** Filling and emptying the repositories of a registry. */
export class Stock {
  protected readonly content = new Content()
  readonly #elsewhere: Elsewhere | undefined

  constructor(elsewhere: Elsewhere | undefined) {
    this.#elsewhere = elsewhere
  }

  /** `as`: the digest it is found by, where the bytes are to be wrong. */
  addBlob(repository: string, body: Buffer, as: Digest = digestOf(body)): Digest {
    return this.addBytes(repository, bytesOf(body), as)
  }

  /** Deterministic noise that is never held in memory. */
  addSynthetic(repository: string, size: number, seed = 1): Digest {
    const bytes = synthetic(size, seed)
    return this.addBytes(repository, bytes, digestOfBytes(bytes))
  }

  addBytes(repository: string, bytes: Bytes, digest: Digest): Digest {
    const { home, name } = this.#home(repository)
    home.setBlob(name, digest, bytes)
    return digest
  }

  /** `digest`, where given, is what it is found by: of another algorithm, or wrong. */
  addManifest(
    repository: string,
    manifest: { readonly mediaType: string; readonly body: Buffer; readonly digest?: Digest },
    ...tags: string[]
  ): Digest {
    const { home, name } = this.#home(repository)
    const digest = home.setManifest(name, manifest.mediaType, manifest.body, manifest.digest)
    for (const tag of tags) home.tag(name, tag, digest)
    return digest
  }

  /** With its config and layers; an index with its images. */
  addImage(repository: string, tag: string | undefined, added: TestImage | TestIndex): Digest {
    if ('images' in added) for (const child of added.images) this.addImage(repository, undefined, child)
    else for (const blob of [added.config, ...added.layers]) this.addBlob(repository, blob.body)
    return this.addManifest(repository, added.manifest, ...(tag === undefined ? [] : [tag]))
  }

  tag(repository: string, tag: string, digest: Digest): void {
    const { home, name } = this.#home(repository)
    home.tag(name, tag, digest)
  }

  removeTag(repository: string, tag: string): void {
    const { home, name } = this.#home(repository)
    home.removeTag(name, tag)
  }

  removeBlob(repository: string, digest: Digest): void {
    const { home, name } = this.#home(repository)
    home.removeBlob(name, digest)
  }

  removeManifest(repository: string, digest: Digest): void {
    const { home, name } = this.#home(repository)
    home.removeManifest(name, digest)
  }

  removeRepository(repository: string): void {
    const { home, name } = this.#home(repository)
    home.remove(name)
  }

  #home(repository: string): { home: Content; name: string } {
    if (!this.#elsewhere) return { home: this.content, name: repository }
    return this.#elsewhere.stock.#home(`${this.#elsewhere.prefix}${repository}`)
  }
}
