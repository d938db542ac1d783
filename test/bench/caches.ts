import { currentRelease, type Distribution, debianRelease, type Release } from './servers/distribution.ts'
import type { MirrorServer } from './servers/mirror.ts'
import type { Nginx } from './servers/nginx.ts'

export interface CacheSettings {
  readonly upstream: string
  /** A file with the certificates to trust. */
  readonly trusted?: string | undefined
}

/** Where servers come from, and who ends them. */
export interface Starter {
  startMirror(settings: CacheSettings): Promise<MirrorServer>
  startDistribution(release: Release, settings: CacheSettings): Promise<Distribution>
  readonly programs: { readonly dockerRegistry: string; readonly distribution: string }
}

/** An upstream and one cache of each kind that pulls from it. Each is started when it is first asked for. */
export class Caches {
  readonly #starter: Starter
  readonly #startUpstream: () => Promise<Nginx>
  #upstream: Promise<Nginx> | undefined
  #mirror: Promise<MirrorServer> | undefined
  #registry: Promise<Distribution> | undefined
  #distribution: Promise<Distribution> | undefined

  constructor(starter: Starter, startUpstream: () => Promise<Nginx>) {
    this.#starter = starter
    this.#startUpstream = startUpstream
  }

  /** The registry that the others pull from. */
  upstream(): Promise<Nginx> {
    this.#upstream ??= this.#startUpstream()
    return this.#upstream
  }

  mirror(): Promise<MirrorServer> {
    this.#mirror ??= this.#settings().then((settings) => this.#starter.startMirror(settings))
    return this.#mirror
  }

  /** Debian's docker-registry 2.8.2. */
  registry(): Promise<Distribution> {
    this.#registry ??= this.#start(debianRelease(this.#starter.programs.dockerRegistry))
    return this.#registry
  }

  /** distribution 3.1. */
  distribution(): Promise<Distribution> {
    this.#distribution ??= this.#start(currentRelease(this.#starter.programs.distribution))
    return this.#distribution
  }

  async #start(release: Release): Promise<Distribution> {
    return this.#starter.startDistribution(release, await this.#settings())
  }

  async #settings(): Promise<CacheSettings> {
    const { url, certificate } = await this.upstream()
    return { upstream: url, trusted: certificate }
  }
}
