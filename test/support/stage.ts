import { type GetOptions, get, type Received } from './client.ts'
import { type MirrorSettings, startMirror, type TestMirror } from './mirror.ts'
import { type TempDir, tempDir } from './temp.ts'
import { TestUpstream } from './upstream.ts'

export interface StageOptions {
  /** A plain registry, unless given. */
  readonly upstream?: TestUpstream
  /** Laid over the configuration of that upstream. */
  readonly entry?: Readonly<Record<string, unknown>>
  /** More upstreams: their URLs by name. */
  readonly others?: Readonly<Record<string, string>>
  readonly config?: MirrorSettings['config']
}

/** A registry, a mirror of it under the name docker.io, and the mirror's clock, which moves only when it is told to. */
export class Stage implements AsyncDisposable {
  readonly upstream: TestUpstream
  readonly clock = { now: Date.UTC(2026, 0, 1) }
  readonly #options: StageOptions
  readonly #dir: TempDir
  #mirror: TestMirror | undefined
  #log: TestMirror['log'] = []

  static async start(options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage(options, options.upstream ?? (await TestUpstream.start()), await tempDir())
    try {
      await stage.restart()
      return stage
    } catch (error) {
      await stage[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(options: StageOptions, upstream: TestUpstream, dir: TempDir) {
    this.upstream = upstream
    this.#options = options
    this.#dir = dir
  }

  get mirror(): TestMirror {
    if (!this.#mirror) throw new Error('the mirror does not run')
    return this.#mirror
  }

  /** Of the last mirror, whether it runs or not. */
  get log(): TestMirror['log'] {
    return this.#log
  }

  /** The data folder; it outlives a restart. */
  get path(): string {
    return this.#dir.path
  }

  /** Asks the mirror: `/v2/library/alpine/manifests/latest`. */
  get(path: string, options: GetOptions = {}): Promise<Received> {
    return get(`${this.mirror.url}${path}`, options)
  }

  async stop(): Promise<void> {
    await this.#mirror?.stop()
    this.#mirror = undefined
  }

  /** The same data folder, a new process; `entry` is laid over the configuration of the upstream. */
  async restart(entry: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.stop()
    const { config = {}, others } = this.#options
    const hub = { url: this.upstream.url, ...this.#options.entry, ...entry }
    const upstreams = { 'docker.io': hub, ...others }
    this.#mirror = await startMirror({ upstreams, config, path: this.#dir.path, clock: this.clock })
    this.#log = this.#mirror.log
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.upstream[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}
