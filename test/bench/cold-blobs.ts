import type { Descriptor } from '../../src/oci/descriptor.ts'
import { shell } from './clients/shell.ts'
import type { Cache } from './servers/server.ts'
import type { World } from './world.ts'

export interface ColdBlobsOptions {
  /** Of each round. */
  readonly count: number
  readonly size: number
  /** Those that will store them. */
  readonly caches: readonly Cache[]
}

/** Blobs that nobody has asked for, new ones for each round. Those of the round before are removed, to give back the disk. */
export class ColdBlobs {
  readonly #world: World
  readonly #options: ColdBlobsOptions
  #round: number | undefined
  #blobs: readonly Descriptor[] = []

  constructor(world: World, options: ColdBlobsOptions) {
    this.#world = world
    this.#options = options
  }

  async of(round: number): Promise<readonly Descriptor[]> {
    if (round !== this.#round) {
      await this.#remove()
      await this.#settle()
      this.#blobs = await this.#make()
      this.#round = round
    }
    // What others have written and the kernel has not would be waited for by whoever writes next.
    await shell('sync')
    return this.#blobs
  }

  async #make(): Promise<readonly Descriptor[]> {
    const { count, size } = this.#options
    const blobs: Descriptor[] = []
    while (blobs.length < count) blobs.push(await this.#world.content.addNoise(size))
    return blobs
  }

  async #remove(): Promise<void> {
    for (const { digest } of this.#blobs) {
      await this.#world.content.remove(digest)
      for (const cache of this.#options.caches) await cache.removeFile(digest)
    }
  }

  /**
   * The kernel lets go of what it keeps of other files. Where the machine is a guest whose host takes free memory back,
   * whoever is the first to use more of it than was in use lately pays for that, four times over.
   */
  async #settle(): Promise<void> {
    const script = 'sync && find "$1" -size +50M -exec dd if={} iflag=nocache count=0 status=none ";"'
    await shell(script, [this.#world.dir])
  }
}
