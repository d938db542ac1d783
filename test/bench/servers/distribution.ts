import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, hexOf } from '../../../src/oci/digest.ts'
import { freePort, Process } from './process.ts'
import { type Cache, registryBlobUrl, registryManifestUrl, repository } from './server.ts'

/** One of the program's releases. All of them read the same settings and write the same files. */
export interface Release {
  /** As it is called in the tables. */
  readonly name: string
  readonly program: string
  readonly env: Readonly<Record<string, string>>
}

export interface DistributionSettings {
  readonly release: Release
  readonly dir: string
  readonly upstream: string
  /** A file with certificates to trust, instead of those that all trust. */
  readonly trusted?: string | undefined
}

/** 2.8.2, as Debian packages it. */
export function debianRelease(program: string): Release {
  return { name: 'docker-registry', program, env: {} }
}

/** 3.1. By default it sends a trace of every request to a collector, and there is none: it is spared the attempts. */
export function currentRelease(program: string): Release {
  return { name: 'distribution 3', program, env: { OTEL_TRACES_EXPORTER: 'none' } }
}

/** The CNCF's distribution, which used to be called docker-registry, in proxy mode with the settings of its example. */
export class Distribution implements Cache {
  readonly process: Process
  readonly url: string
  readonly #data: string

  private constructor(process: Process, data: string, url: string) {
    this.process = process
    this.#data = data
    this.url = url
  }

  static async start({ release, dir, upstream, trusted }: DistributionSettings): Promise<Distribution> {
    const { name, program } = release
    const data = join(dir, 'data')
    await mkdir(data, { recursive: true })
    const port = await freePort()
    const config = join(dir, 'config.yaml')
    await writeFile(
      config,
      `version: 0.1
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: ${JSON.stringify(data)} }
http: { addr: "127.0.0.1:${port}" }
proxy: { remoteurl: ${upstream} }
`,
    )
    const url = `http://127.0.0.1:${port}`
    const env = trusted === undefined ? release.env : { ...release.env, SSL_CERT_FILE: trusted }
    const command = { name, program, args: ['serve', config], env, log: join(dir, 'log') }
    return new Distribution(await Process.start(command, `${url}/v2/`), data, url)
  }

  get name(): string {
    return this.process.name
  }

  blobUrl(digest: Digest): string {
    return registryBlobUrl(this.url, digest)
  }

  manifestUrl(reference: string): string {
    return registryManifestUrl(this.url, reference)
  }

  /** It is found by a link in its repository, which is written after the blob. */
  async storedSize(digest: Digest): Promise<number | undefined> {
    const link = join(this.#root, 'repositories', repository, '_layers/sha256', hexOf(digest), 'link')
    const linked = await stat(link).catch(() => undefined)
    if (!linked) return undefined
    const found = await stat(this.#blobPath(digest)).catch(() => undefined)
    return found?.size
  }

  async removeFile(digest: Digest): Promise<void> {
    await rm(this.#blobPath(digest))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]()
  }

  get #root(): string {
    return join(this.#data, 'docker/registry/v2')
  }

  #blobPath(digest: Digest): string {
    const hex = hexOf(digest)
    return join(this.#root, 'blobs/sha256', hex.slice(0, 2), hex, 'data')
  }
}
