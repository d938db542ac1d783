import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImagesAnswer } from '../../../src/admin/answers.ts'
import type { CachedImage } from '../../../src/cache/upkeep/images.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { type AdminAnswer, call } from '../../support/admin-client.ts'
import { get } from '../../support/client.ts'
import type { TestImage, TestIndex } from '../../support/image.ts'
import { startMirror, type TestMirror } from '../../support/mirror.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { until } from '../../support/wait.ts'

export const first = 'registry.test'
export const second = 'other.test'

/** A mirror of two upstreams, to be filled, looked into and emptied. */
export class Larder implements AsyncDisposable {
  readonly upstream: TestUpstream
  readonly other: TestUpstream
  readonly mirror: TestMirror

  static async open(config: Readonly<Record<string, unknown>> = {}, clock?: { now: number }): Promise<Larder> {
    const upstream = await TestUpstream.start()
    const other = await TestUpstream.start()
    const upstreams = { [first]: upstream.url, [second]: other.url }
    const mirror = await startMirror({ upstreams, config, ...(clock && { clock }) })
    return new Larder(upstream, other, mirror)
  }

  private constructor(upstream: TestUpstream, other: TestUpstream, mirror: TestMirror) {
    this.upstream = upstream
    this.other = other
    this.mirror = mirror
  }

  /** Puts an image into its registry, and pulls it; of an index, its first image. `name`: `registry.test/team/app`. */
  async stock(name: string, tag: string, image: TestImage | TestIndex): Promise<void> {
    const slash = name.indexOf('/')
    const registry = name.startsWith(first) ? this.upstream : this.other
    registry.addImage(name.slice(slash + 1), tag, image)
    await this.pull(name, tag, image)
  }

  /** Resolves when what was pulled is stored. */
  async pull(name: string, reference: string, image: TestImage | TestIndex): Promise<void> {
    await this.#fetch(name, reference, image)
    await this.settled()
  }

  /** Waits until no fill runs. */
  async settled(): Promise<void> {
    await until(async () => (await this.call<unknown[]>('/fills')).json.length === 0, 'the fills to end')
  }

  async #fetch(name: string, reference: string, image: TestImage | TestIndex): Promise<void> {
    await this.#get(`${name}/manifests/${reference}`)
    if ('images' in image) {
      const [child] = image.images
      if (child) await this.#fetch(name, child.manifest.digest, child)
      return
    }
    for (const { digest } of [image.config, ...image.layers]) await this.#get(`${name}/blobs/${digest}`)
  }

  /** The admin API: `/images`. */
  call<Json = Record<string, unknown>>(
    path: string,
    method?: 'GET' | 'POST' | 'DELETE',
    body?: unknown,
  ): Promise<AdminAnswer<Json>> {
    return call<Json>(`${this.mirror.adminUrl}/api${path}`, method, { body })
  }

  async images(query = ''): Promise<readonly CachedImage[]> {
    const { json } = await this.call<ImagesAnswer>(`/images${query}`)
    return json.images
  }

  /** Whether a blob's file is there. */
  async holds(digest: Digest): Promise<boolean> {
    const names = await readdir(join(this.mirror.path, 'blobs', 'sha256'))
    return names.includes(digest.slice('sha256:'.length))
  }

  async #get(path: string): Promise<void> {
    const { status, complete } = await get(`${this.mirror.url}/v2/${path}`)
    if (status !== 200 || !complete) throw new Error(`${path} was answered with ${status}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mirror[Symbol.asyncDispose]()
    await this.upstream[Symbol.asyncDispose]()
    await this.other[Symbol.asyncDispose]()
  }
}
