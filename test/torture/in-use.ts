import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Read } from './reads.ts'
import type { World } from './world.ts'

const pause = 300
/** So long after a blob was last wanted the mirror lets go of it, and a little more. Milliseconds. */
const idle = 6000
const between = 2000
const logged = 1000
const justBefore = 5000

/**
 * Looks into the store, all the time, whether what somebody is being sent still lies there (promise 12). Where that has
 * gone on for long, it asks for an eviction: a life of the mirror is too short to wait for one that comes by itself.
 */
export class InUse {
  readonly #world: World
  #stopped = false
  #evictedAt = 0
  #running: Promise<void> | undefined

  constructor(world: World) {
    this.#world = world
  }

  start(): void {
    this.#stopped = false
    this.#running = this.#watch()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      await sleep(pause)
      const reads = this.#world.reads.underWay
      if (reads.length > 0) await this.#look(reads)
      if (reads.some(({ outcome, startedAt }) => outcome === 'hit' && startedAt < performance.now() - idle))
        this.#evict()
    }
  }

  #evict(): void {
    const now = performance.now()
    if (now < this.#evictedAt + between) return
    this.#evictedAt = now
    void this.#world.mirror.ask('/api/evict', 'POST')
  }

  async #look(reads: readonly Read[]): Promise<void> {
    const { dataFolder, mirror, findings, history } = this.#world
    const names = new Set(await readdir(join(dataFolder, 'blobs', 'sha256')).catch(() => []))
    for (const read of reads) {
      const { digest, size, outcome, startedAt, wasStored, sender } = read
      read.wasStored = names.has(digest.slice('sha256:'.length))
      if (read.wasStored || !wasStored || mirror.pid !== sender || this.#wasTouched(read)) continue
      // Nor is it missed by somebody who left, came to the end, or was cut; the mirror's log tells that a little later.
      await sleep(logged)
      if (!this.#world.reads.of(digest).includes(read) || history.hasCut(digest, size, startedAt)) continue
      findings.add('evicted-in-use', digest, `it was taken out of the store under a reader of what was a ${outcome}`)
    }
  }

  /** By a purge meanwhile, or by damage that may be found at any time. */
  #wasTouched({ digest, startedAt }: Read): boolean {
    const { history, hints } = this.#world
    const isDamaged = ['truncate', 'flip', 'delete'].some((how) => hints.has(`${how} ${digest}`))
    return isDamaged || (history.touchedAt(digest) ?? Number.NEGATIVE_INFINITY) > startedAt - justBefore
  }
}
