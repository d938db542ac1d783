import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { StatsAnswer } from '../../../src/admin/answers.ts'
import { type Digest, hexOf } from '../../../src/oci/digest.ts'
import { Daemon, eventually } from '../../e2e/support/daemon.ts'
import { type AdminAnswer, call } from '../../support/admin-client.ts'
import { type GetOptions, get, type Received } from '../../support/client.ts'

const program = fileURLToPath(new URL('../../../src/entrepot.cjs', import.meta.url))

export interface MirrorSettings {
  /** Where its configuration lies. */
  readonly home: string
  /** Its data folder. */
  readonly data: string
  /** The whole configuration, but for what is said above and where it listens. */
  readonly config: Readonly<Record<string, unknown>>
}

/** The real server in a process of its own, that is started, killed and started again over one data folder. */
export class Mirror implements AsyncDisposable {
  readonly data: string
  readonly #settings: MirrorSettings
  #daemon: Daemon | undefined
  #addresses = { listen: '', admin: '' }

  constructor(settings: MirrorSettings) {
    this.data = settings.data
    this.#settings = settings
  }

  get url(): string {
    return `http://${this.#addresses.listen}`
  }

  get adminUrl(): string {
    return `http://${this.#addresses.admin}`
  }

  get id(): number {
    return this.#daemon?.id ?? 0
  }

  get isRunning(): boolean {
    return this.#daemon !== undefined && !this.#daemon.ended
  }

  /** Lines of this life. */
  get log(): readonly Record<string, unknown>[] {
    const lines = (this.#daemon?.output ?? '').split('\n').slice(0, -1)
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  }

  /** Rejects with what it said where it ends instead. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { home, data, config } = this.#settings
    const { storage, ...rest } = config
    const document = {
      listen: '127.0.0.1:0',
      admin: { listen: '127.0.0.1:0' },
      ...rest,
      storage: { path: data, ...(storage as object | undefined) },
    }
    const path = join(home, 'config.yaml')
    // JSON is YAML.
    await writeFile(path, JSON.stringify(document))
    this.#daemon = await Daemon.start({
      program: process.execPath,
      args: [program, 'serve', '--config', path],
      home,
      env,
      ready: (output) => /"msg":"listening".*\n/.test(output),
    })
    const { listen = '', admin = '' } = this.log.find(({ msg }) => msg === 'listening') as Record<string, string>
    this.#addresses = { listen, admin }
  }

  async stop(): Promise<void> {
    await this.#daemon?.end('SIGTERM')
  }

  async kill(): Promise<void> {
    await this.#daemon?.end('SIGKILL')
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.id, name)
  }

  /** Resolves when the process has ended. */
  async ended(): Promise<void> {
    await eventually(() => !this.isRunning, 'the mirror to end')
  }

  manifest(repository: string, reference: string, options: GetOptions = {}): Promise<Received> {
    return get(`${this.url}/v2/${repository}/manifests/${reference}`, options)
  }

  blob(repository: string, digest: Digest, options: GetOptions = {}): Promise<Received> {
    return get(`${this.url}/v2/${repository}/blobs/${digest}`, options)
  }

  call<Json>(path: string, method?: 'GET' | 'POST' | 'DELETE', body?: unknown): Promise<AdminAnswer<Json>> {
    return call<Json>(`${this.adminUrl}${path}`, method, body === undefined ? {} : { body })
  }

  async stats(): Promise<StatsAnswer> {
    return (await this.call<StatsAnswer>('/api/stats')).json
  }

  /** `ok` or `resting`, of its first upstream. */
  async upstreamState(): Promise<string> {
    return (await this.stats()).upstreams[0]?.state ?? ''
  }

  /** Where a blob lies. */
  path(digest: Digest): string {
    return join(this.data, 'blobs', 'sha256', hexOf(digest))
  }

  holds(digest: Digest): boolean {
    return existsSync(this.path(digest))
  }

  /** How many blobs lie in its folder. */
  async files(): Promise<number> {
    const names = await readdir(join(this.data, 'blobs', 'sha256'))
    return names.filter((name) => !name.includes('.')).length
  }

  /** Waits until so many blobs are stored and recorded. */
  async keeps(blobs: number): Promise<void> {
    await eventually(async () => (await this.stats()).storage.blobs === blobs, `${blobs} blobs to be recorded`)
  }

  /** Waits until no download runs. */
  async settled(): Promise<void> {
    await eventually(async () => (await this.stats()).fills === 0, 'downloads to end')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}
