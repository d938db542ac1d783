import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { selfSigned } from '../support/certificate.ts'
import { type CacheSettings, Caches, type Starter } from './caches.ts'
import { Content, type Published } from './content.ts'
import type { BenchOptions } from './options.ts'
import { find, type Need } from './programs.ts'
import { Quiet } from './quiet.ts'
import { Distribution, type Release } from './servers/distribution.ts'
import { DistributionBuild } from './servers/distribution-build.ts'
import { MirrorServer } from './servers/mirror.ts'
import { Nginx } from './servers/nginx.ts'
import { Throttled } from './servers/throttled.ts'

/** 10⁶ and 10⁹ bytes, as networks and disks are sold. */
export const megabyte = 1e6
export const gigabyte = 1e9

/** What all scenarios share: one upstream, one of each contender, some content. Made when first asked for. */
export class World implements AsyncDisposable, Starter {
  readonly content: Content
  /** Over plain HTTP. */
  readonly plain: Caches
  /** The same upstream over TLS; it has caches of its own, which trust it. */
  readonly secure: Caches
  readonly #options: BenchOptions
  readonly #dir: string
  readonly #stack = new AsyncDisposableStack()
  readonly #build = new DistributionBuild()
  #files: Promise<Nginx> | undefined
  #large: Promise<Descriptor> | undefined
  #image: Promise<Published> | undefined
  readonly #quiet: Quiet
  #folders = 0

  private constructor(options: BenchOptions, dir: string, content: Content) {
    this.#options = options
    this.#dir = dir
    this.#quiet = new Quiet(options.patience)
    this.content = content
    this.plain = new Caches(this, () => this.#own(Nginx.registry({ dir: this.folder('upstream'), content })))
    this.secure = new Caches(this, () =>
      this.#own(Nginx.registry({ dir: this.folder('secure-upstream'), content, identity: selfSigned() })),
    )
  }

  static async create(options: BenchOptions): Promise<World> {
    const dir = await mkdtemp(join(options.dir ?? tmpdir(), 'entrepot-bench-'))
    return new World(options, dir, await Content.create(join(dir, 'content')))
  }

  get dir(): string {
    return this.#dir
  }

  get isQuick(): boolean {
    return this.#options.quick
  }

  /** How many rounds are measured. */
  rounds(usual: number, quick: number): number {
    return this.#options.rounds ?? (this.#options.quick ? quick : usual)
  }

  /** nginx over plain files. */
  files(): Promise<Nginx> {
    this.#files ??= this.#own(Nginx.files({ dir: this.folder('nginx'), content: this.content }))
    return this.#files
  }

  /** 200 MB. */
  large(): Promise<Descriptor> {
    this.#large ??= this.content.addNoise(200 * megabyte)
    return this.#large
  }

  /** Eight layers, named and not there: the manifest has the size of a usual one. */
  image(): Promise<Published> {
    this.#image ??= this.#makeImage()
    return this.#image
  }

  /** Why a scenario with these needs cannot run; undefined if it can. */
  async lacking(needs: readonly Need[]): Promise<string | undefined> {
    const absent = needs.filter((need) => need !== 'distribution 3' && find(need) === undefined)
    if (absent.length > 0) return `not installed: ${absent.join(', ')}`
    return needs.includes('distribution 3') ? this.#build.ensure(this.progress) : undefined
  }

  get programs(): Starter['programs'] {
    return { dockerRegistry: find('docker-registry') ?? 'docker-registry', distribution: this.#build.program }
  }

  startDistribution(release: Release, settings: CacheSettings): Promise<Distribution> {
    const dir = this.folder(release.name.replace(' ', '-'))
    return this.#own(Distribution.start({ release, dir, ...settings }))
  }

  /** A mirror with an empty store, or with what `dir` holds. */
  startMirror(settings: CacheSettings & { name?: string; dir?: string }): Promise<MirrorServer> {
    const { profile } = this.#options
    return this.#own(MirrorServer.start({ dir: this.folder('entrepot'), profile, ...settings }))
  }

  startThrottled(bytesPerSecond: number): Promise<Throttled> {
    return this.#own(Throttled.start({ dir: this.folder('throttled'), content: this.content, bytesPerSecond }))
  }

  /** A path of its own, not made yet. */
  folder(name: string): string {
    this.#folders += 1
    return join(this.#dir, `${this.#folders}-${name}`)
  }

  /** For whoever watches; not part of the results. */
  readonly progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  }

  /** When to measure, and who hears of it. */
  get pace(): { onProgress: (text: string) => void; quiet: () => Promise<void> } {
    return { onProgress: this.progress, quiet: () => this.#quiet.wait(this.progress) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.progress('')
    await this.#stack.disposeAsync()
    if (this.#options.keep) process.stderr.write(`kept: ${this.#dir}\n`)
    else await rm(this.#dir, { recursive: true, force: true })
  }

  async #makeImage(): Promise<Published> {
    const layers = await Promise.all(Array.from({ length: 8 }, () => this.content.addNoise(1000)))
    return this.content.addImage(layers)
  }

  async #own<Resource extends AsyncDisposable>(starting: Promise<Resource>): Promise<Resource> {
    return this.#stack.use(await starting)
  }
}
