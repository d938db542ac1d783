import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Digest } from '../../../src/oci/digest.ts'
import { pathOf } from '../../../src/storage/layout.ts'
import { freePort, Process } from './process.ts'
import { type Cache, registryBlobUrl, registryManifestUrl } from './server.ts'

const program = fileURLToPath(new URL('../../../src/entrepot.cjs', import.meta.url))

export interface MirrorSettings {
  readonly name?: string
  /** Its folder: data, configuration and log. Made if absent. */
  readonly dir: string
  readonly upstream: string
  /** A file with certificates to trust, besides those that all trust. */
  readonly trusted?: string | undefined
  /** Where a CPU profile goes when it stops. */
  readonly profile?: string | undefined
}

/** Entrepôt, as `entrepot serve` runs: defaults, but for its ports and its upstream. */
export class MirrorServer implements Cache {
  readonly process: Process
  readonly url: string
  readonly adminUrl: string
  readonly #data: string

  private constructor(process: Process, data: string, ports: { listen: number; admin: number }) {
    this.process = process
    this.#data = data
    this.url = `http://127.0.0.1:${ports.listen}`
    this.adminUrl = `http://127.0.0.1:${ports.admin}`
  }

  static async start({ name = 'Entrepôt', dir, upstream, trusted, profile }: MirrorSettings): Promise<MirrorServer> {
    const data = join(dir, 'data')
    await mkdir(data, { recursive: true })
    const ports = { listen: await freePort(), admin: await freePort() }
    const config = join(dir, 'config.yaml')
    await writeFile(
      config,
      `listen: 127.0.0.1:${ports.listen}
admin: { listen: 127.0.0.1:${ports.admin} }
storage: { kind: file, path: ${JSON.stringify(data)} }
upstreams:
  docker.io: { url: ${upstream}, tagTtl: 1h }
`,
    )
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
    const args = [...profiling, program, 'serve', '--config', config]
    const env = trusted === undefined ? {} : { NODE_EXTRA_CA_CERTS: trusted }
    const log = join(dir, 'log')
    const url = `http://127.0.0.1:${ports.admin}/readyz`
    const running = await Process.start({ name, program: process.execPath, args, env, log }, url)
    return new MirrorServer(running, data, ports)
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

  async storedSize(digest: Digest): Promise<number | undefined> {
    const found = await stat(pathOf(this.#data, { kind: 'blob', digest })).catch(() => undefined)
    return found?.size
  }

  async removeFile(digest: Digest): Promise<void> {
    await rm(pathOf(this.#data, { kind: 'blob', digest }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]()
  }
}
