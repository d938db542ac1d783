import { setTimeout as sleep } from 'node:timers/promises'
import type { TrueTag } from './catalogue.ts'
import type { Crowd } from './crowd.ts'
import { manifestAsk, tagAsk, wholeBlob } from './habits.ts'
import { statusOf } from './judge.ts'
import type { World } from './world.ts'

const pause = 400
/** For the first pull, and so for a mirror that hangs. */
const patience = 60_000

/** One image that is pinned: once it was had whole, everything of it is a hit, whatever is evicted (promise 12). */
export class Pinned {
  readonly #world: World
  readonly #crowd: Crowd
  readonly #tag: TrueTag | undefined
  #stopped = true
  #running: Promise<void> | undefined

  constructor(world: World, crowd: Crowd) {
    this.#world = world
    this.#crowd = crowd
    this.#tag = world.catalogue.tags.find(({ still }) => still)
  }

  /** Pulls and pins it while all is well, and looks after it from then on. */
  async start(): Promise<void> {
    const [version] = this.#tag?.versions ?? []
    if (!this.#tag || !version) return
    const { repository, tag } = this.#tag
    const asks = this.#asks()
    for (const until = performance.now() + patience; performance.now() < until; ) {
      const seen = await Promise.all([tagAsk(this.#tag, 'pin'), ...asks].map((ask) => this.#crowd.ask(ask)))
      if (seen.every(({ status, complete }) => status === 200 && complete)) break
      await sleep(pause)
    }
    await this.#world.mirror.ask('/api/pins', 'POST', { pattern: `registry.test/${repository}:${tag}` })
    this.#stopped = false
    this.#running = this.#watch()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  #asks() {
    const { catalogue } = this.#world
    const [version] = this.#tag?.versions ?? []
    if (!version) return []
    const parts = catalogue.blobs.filter(
      ({ repository, digest }) => repository === version.repository && version.parts.includes(digest),
    )
    return [manifestAsk(version, 'pinned'), ...parts.map((blob) => wholeBlob(blob, { habit: 'pinned' }))]
  }

  async #watch(): Promise<void> {
    const { mirror, findings } = this.#world
    const asks = this.#asks()
    for (let at = 0; !this.#stopped; at += 1) {
      await sleep(pause)
      const ask = asks[at % asks.length]
      if (!ask || !mirror.isUp) continue
      const seen = await this.#crowd.ask(ask)
      if (this.#stopped || mirror.hadGapSince(seen.startedAt)) continue
      const [outcome] = statusOf(seen)
      if (seen.status !== 200 || outcome !== 'hit') {
        findings.add('pinned-gone', ask.visit.path, `status ${seen.status}, ${outcome ?? seen.error}`)
      }
    }
  }
}
