import assert from 'node:assert/strict'
import type { TestBlob, TestImage, TestIndex, TestManifest } from '../../support/image.ts'
import type { DockerRegistry } from './docker-registry.ts'

export type Pushed = TestImage | TestIndex

/** Pushes an image, or an index with its images, byte by byte as they are: no client in between re-packs anything. */
export async function push(registry: DockerRegistry, repository: string, tag: string, what: Pushed): Promise<void> {
  const target = new Target(registry, repository)
  for (const image of imagesOf(what)) {
    for (const blob of [image.config, ...image.layers]) await target.putBlob(blob)
    await target.putManifest(image.manifest, image.manifest.digest)
  }
  await target.putManifest(what.manifest, tag)
}

export function imagesOf(what: Pushed): readonly TestImage[] {
  return 'images' in what ? what.images : [what]
}

class Target {
  readonly #base: string
  readonly #headers: Record<string, string>

  constructor({ url, login }: DockerRegistry, repository: string) {
    this.#base = `${url}/v2/${repository}`
    const basic = login && Buffer.from(`${login.username}:${login.password}`).toString('base64')
    this.#headers = basic === undefined ? {} : { authorization: `Basic ${basic}` }
  }

  async putBlob({ digest, body }: TestBlob): Promise<void> {
    const known = await this.#send(`${this.#base}/blobs/${digest}`, { method: 'HEAD' })
    if (known.status === 200) return
    const opened = await this.#send(`${this.#base}/blobs/uploads/`, { method: 'POST' })
    const location = new URL(opened.headers.get('location') ?? '', this.#base)
    location.searchParams.set('digest', digest)
    const put = await this.#send(location.href, { method: 'PUT', body: new Uint8Array(body) })
    assert.equal(put.status, 201, `docker-registry did not take ${digest}`)
  }

  async putManifest({ mediaType, body }: TestManifest, reference: string): Promise<void> {
    const headers = { 'content-type': mediaType }
    const url = `${this.#base}/manifests/${reference}`
    const put = await this.#send(url, { method: 'PUT', headers, body: new Uint8Array(body) })
    assert.equal(put.status, 201, `docker-registry did not take manifest ${reference}`)
  }

  async #send(url: string, { headers, ...init }: RequestInit): Promise<Response> {
    const response = await fetch(url, { ...init, headers: { ...this.#headers, ...headers } as Record<string, string> })
    await response.arrayBuffer()
    return response
  }
}
