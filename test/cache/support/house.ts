import { readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Digest } from '../../../src/oci/digest.ts'
import { type GetOptions, get, open, type Reader, type Received, type RequestOptions } from '../../support/client.ts'
import { image } from '../../support/image.ts'
import { type MirrorSettings, startMirror, type TestMirror } from '../../support/mirror.ts'
import { TestUpstream, type UpstreamOptions } from '../../support/upstream.ts'
import { until } from '../../support/wait.ts'

export const repository = 'team/app'

export interface HouseSettings {
  /** One that runs is the house's from now on. */
  readonly upstream?: UpstreamOptions | TestUpstream
  readonly timeouts?: Readonly<Record<string, string>>
  readonly limits?: Readonly<Record<string, unknown>>
  /** More upstreams, by name: their repositories are asked for as `<name>/<repository>`. */
  readonly others?: Readonly<Record<string, TestUpstream>>
  readonly path?: string
  /** Laid over the configuration of the store. */
  readonly storage?: Readonly<Record<string, unknown>>
}

export interface RunningFill {
  readonly digest: Digest
  readonly repository: string
  readonly size: number | null
  readonly written: number
  readonly followers: number
}

/** How each ended: `stored`, `mismatch`, `failed`, `unwritable`, `abandoned`. */
export interface EndedFill {
  readonly end: string
  readonly digest: string
  readonly repository: string
  readonly bytes: number
}

/** A mirror before a test upstream, with nothing cached. */
export class House implements AsyncDisposable {
  readonly upstream: TestUpstream
  readonly mirror: TestMirror

  static async open(settings: HouseSettings = {}): Promise<House> {
    const { upstream: given, timeouts, limits, others = {}, path, storage } = settings
    const upstream = given instanceof TestUpstream ? given : await TestUpstream.start(given)
    const urls = Object.entries(others).map(([name, other]) => [name, other.url])
    const mirror: MirrorSettings = {
      upstreams: { 'registry.test': upstream.url, ...Object.fromEntries(urls) },
      config: { timeouts: { shutdown: '1s', ...timeouts }, limits: { ...limits }, storage },
    }
    try {
      return new House(upstream, await startMirror({ ...mirror, ...(path !== undefined && { path }) }))
    } catch (error) {
      await upstream[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(upstream: TestUpstream, mirror: TestMirror) {
    this.upstream = upstream
    this.mirror = mirror
  }

  url(digest: Digest, name = repository): string {
    return `${this.mirror.url}/v2/${name}/blobs/${digest}`
  }

  /** Reads an answer to its end. */
  get(digest: Digest, options?: GetOptions, name?: string): Promise<Received> {
    return get(this.url(digest, name), options)
  }

  /** Resolves with the headers. */
  open(digest: Digest, options?: RequestOptions, name?: string): Promise<Reader> {
    return open(this.url(digest, name), options)
  }

  /** Asks, without waiting for an answer; what it returns leaves. */
  visit(digest: Digest, name?: string): () => void {
    const { hostname, port, pathname } = new URL(this.url(digest, name))
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`)
    return () => socket.destroy()
  }

  range(digest: Digest, range: string, name?: string): Promise<Received> {
    return get(this.url(digest, name), { headers: { range: `bytes=${range}` } })
  }

  /** Makes a manifest name the blob, and has the mirror read it: from now on the mirror knows its size. */
  async describe(digest: Digest, size: number, name = repository): Promise<void> {
    const described = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size }]
    const { manifest } = image({ layers: [], described })
    this.upstream.addManifest(name, manifest)
    const { status } = await get(`${this.mirror.url}/v2/${name}/manifests/${manifest.digest}`)
    if (status !== 200) throw new Error(`the manifest was answered with ${status}`)
  }

  /** Files of the blobs folder, without manifests. */
  async stored(): Promise<string[]> {
    const names = await readdir(join(this.mirror.path, 'blobs', 'sha256'))
    return names.filter((name) => !name.endsWith('.json') && !names.includes(`${name}.json`))
  }

  /** Blob requests by outcome; those that are 0 left out. */
  async outcomes(): Promise<Record<string, number>> {
    const { requests } = (await this.mirror.stats()) as unknown as { requests: { blob: Record<string, number> } }
    return Object.fromEntries(Object.entries(requests.blob).filter(([, count]) => count > 0))
  }

  /** All that run, or the one of a digest if it does. */
  async fills(digest?: Digest): Promise<RunningFill[]> {
    const fills = (await (await fetch(`${this.mirror.adminUrl}/api/fills`)).json()) as RunningFill[]
    return fills.filter((fill) => digest === undefined || fill.digest === digest)
  }

  /** Waits until so many clients follow a running fill, or are about to. */
  async followed(followers: number, digest: Digest): Promise<void> {
    await until(async () => (await this.fills(digest))[0]?.followers === followers, `${followers} followers`)
  }

  /** Waits until no fill runs, or that of a digest does not. */
  async settled(digest?: Digest): Promise<void> {
    await until(async () => (await this.fills(digest)).length === 0, 'the fills to end')
    if (digest === undefined) await until(async () => (await this.spools()).length === 0, 'the ingest to be empty')
  }

  /** Waits until an answer with the blob was broken off because of its client. */
  async cut(digest: Digest): Promise<void> {
    const isCut = ({ reference, aborted }: Record<string, unknown>) => reference === digest && aborted === true
    await until(() => this.mirror.log.some(isCut), 'the client to be cut')
  }

  spools(): Promise<string[]> {
    return readdir(join(this.mirror.path, 'ingest'))
  }

  /** In order of their ends. The log is whole after the mirror has stopped, so this stops it. */
  async endedFills(): Promise<EndedFill[]> {
    await this.mirror.stop()
    return this.mirror.log.filter(({ msg }) => msg === 'fill ended') as unknown as EndedFill[]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mirror[Symbol.asyncDispose]()
    await this.upstream[Symbol.asyncDispose]()
  }
}

/** Numbers from 0 to before 1 that are the same in every run. */
export function* random(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    yield state / 2 ** 32
  }
}
