import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { Bytes } from './bytes.ts'

export interface StoredManifest {
  readonly mediaType: string
  readonly body: Buffer
  readonly digest: Digest
}

interface Repository {
  readonly blobs: Map<string, Bytes>
  readonly manifests: Map<string, StoredManifest>
  readonly tags: Map<string, Digest>
}

/** What the repositories of a registry hold. */
export class Content {
  readonly #repositories = new Map<string, Repository>()

  has(repository: string): boolean {
    return this.#repositories.has(repository)
  }

  remove(repository: string): void {
    this.#repositories.delete(repository)
  }

  setBlob(repository: string, digest: Digest, bytes: Bytes): void {
    this.#make(repository).blobs.set(digest, bytes)
  }

  blob(repository: string, digest: string): Bytes | undefined {
    return this.#repositories.get(repository)?.blobs.get(digest)
  }

  removeBlob(repository: string, digest: string): void {
    this.#repositories.get(repository)?.blobs.delete(digest)
  }

  setManifest(repository: string, mediaType: string, body: Buffer, digest: Digest = digestOf(body)): Digest {
    this.#make(repository).manifests.set(digest, { mediaType, body, digest })
    return digest
  }

  manifest(repository: string, reference: string): StoredManifest | undefined {
    const held = this.#repositories.get(repository)
    return held?.manifests.get(held.tags.get(reference) ?? reference)
  }

  manifests(repository: string): StoredManifest[] {
    return [...(this.#repositories.get(repository)?.manifests.values() ?? [])]
  }

  removeManifest(repository: string, digest: string): void {
    this.#repositories.get(repository)?.manifests.delete(digest)
  }

  tag(repository: string, tag: string, digest: Digest): void {
    this.#make(repository).tags.set(tag, digest)
  }

  removeTag(repository: string, tag: string): void {
    this.#repositories.get(repository)?.tags.delete(tag)
  }

  /** In ASCII order. */
  tags(repository: string): string[] {
    return [...(this.#repositories.get(repository)?.tags.keys() ?? [])].sort()
  }

  #make(repository: string): Repository {
    const made = this.#repositories.get(repository) ?? { blobs: new Map(), manifests: new Map(), tags: new Map() }
    this.#repositories.set(repository, made)
    return made
  }
}
