import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, hexOf } from '../../../src/oci/digest.ts'
import { find } from '../programs.ts'
import { freePort, Process } from './process.ts'
import { type Cache, registryBlobUrl, registryManifestUrl, repository } from './server.ts'

export interface DockerRegistrySettings {
  readonly dir: string
  readonly upstream: string
  /** A file with certificates to trust, instead of those that all trust. */
  readonly trusted?: string | undefined
}

/** Debian's docker-registry in proxy mode; its settings are those that Debian ships. */
export class DockerRegistry implements Cache {
  readonly process: Process
  readonly url: string
  readonly #data: string

  private constructor(process: Process, data: string, url: string) {
    this.process = process
    this.#data = data
    this.url = url
  }

  static async start({ dir, upstream, trusted }: DockerRegistrySettings): Promise<DockerRegistry> {
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
    const program = find('docker-registry') ?? 'docker-registry'
    const env = trusted === undefined ? {} : { SSL_CERT_FILE: trusted }
    const command = { name: 'docker-registry', program, args: ['serve', config], env, log: join(dir, 'log') }
    return new DockerRegistry(await Process.start(command, `${url}/v2/`), data, url)
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
    const root = join(this.#data, 'docker/registry/v2')
    const hex = hexOf(digest)
    const linked = await stat(join(root, 'repositories', repository, '_layers/sha256', hex, 'link')).catch(
      () => undefined,
    )
    if (!linked) return undefined
    const found = await stat(join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data')).catch(() => undefined)
    return found?.size
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]()
  }
}
