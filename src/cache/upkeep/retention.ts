import { setImmediate as turn } from 'node:timers/promises'
import type { ContentIndex, ImageCursor } from '../../metadata/content-index.ts'
import type { Use } from '../../metadata/metadata-store.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Pin, parsePin } from './pin.ts'

/** What keeps a digest: nothing but its own use; a pin; or that what it is part of was wanted at `since`, or later than it. */
export type Claim = 'none' | 'pinned' | { readonly since: number }

/** Questions to the index, each answered synchronously inside, after which others get their turn. */
const questionsPerTurn = 50
const page = 100

/** What stored manifests and pins have to say about digests that are about to go: one look at the pins, for one run. */
export class Claims {
  readonly #index: ContentIndex
  readonly #isGone: (use: Use) => boolean
  readonly #pins: readonly Pin[]
  /** Of repositories that a pin covers: what their pinned tags point to. */
  readonly #pinned = new Map<string, ReadonlySet<Digest>>()
  #questions = 0

  /** `isGone` tells of what is recorded and not stored any more. */
  static async of(index: ContentIndex, isGone: (use: Use) => boolean): Promise<Claims> {
    const pins = (await index.pins()).flatMap((pattern) => parsePin(pattern) ?? [])
    return new Claims(index, isGone, pins)
  }

  private constructor(index: ContentIndex, isGone: (use: Use) => boolean, pins: readonly Pin[]) {
    this.#index = index
    this.#isGone = isGone
    this.#pins = pins
  }

  /** Climbs to all stored manifests that lead to the digest: costs what they are, not what there is. */
  async on({ digest, at }: Use): Promise<Claim> {
    if (await this.#isPinned(digest)) return 'pinned'
    let since = Number.NEGATIVE_INFINITY
    const climbed = new Set([digest])
    // A set goes on to what is added while it is walked.
    for (const part of climbed) {
      for (const namer of await this.#ask(() => this.#index.parentsOf(part))) {
        if (climbed.has(namer)) continue
        const use = await this.#ask(() => this.#index.use(namer))
        if (!use || this.#isGone(use)) continue
        if (await this.#isPinned(namer)) return 'pinned'
        since = Math.max(since, use.at)
        climbed.add(namer)
      }
    }
    return since < at ? 'none' : { since }
  }

  async #isPinned(digest: Digest): Promise<boolean> {
    if (this.#pins.length === 0) return false
    for (const repository of await this.#ask(() => this.#index.repositoriesOf(digest))) {
      if ((await this.#pinnedIn(repository)).has(digest)) return true
    }
    return false
  }

  async #pinnedIn(repository: string): Promise<ReadonlySet<Digest>> {
    const known = this.#pinned.get(repository)
    if (known) return known
    const found = new Set<Digest>()
    const pins = this.#pins.filter((pin) => pin.covers(repository))
    for (let after: ImageCursor | undefined; pins.length > 0; ) {
      const images = await this.#ask(() => this.#index.images(repository, after, page))
      // Behind its own come those of repositories whose names begin with its.
      const own = images.filter((image) => image.repository === repository)
      for (const { tag, digest } of own) if (pins.some((pin) => pin.matches(repository, tag))) found.add(digest)
      after = own.at(-1)
      if (own.length < page) break
    }
    this.#pinned.set(repository, found)
    return found
  }

  async #ask<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    this.#questions += 1
    if (this.#questions % questionsPerTurn === 0) await turn()
    return await question()
  }
}
