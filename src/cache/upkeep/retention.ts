import type { Access } from '../../metadata/access-log.ts'
import type { ContentIndex } from '../../metadata/content-index.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Pin, parsePin } from '../../oci/pin.ts'
import { GraphReader, walk } from './graph-reader.ts'

/** Why a blob must stay: nothing, a pin, or a stored manifest that leads to it and was last used at `since`. */
export type KeepReason = 'none' | 'pinned' | { readonly since: number }

/** Decides why blobs must stay. The pins are read once, for one run; everything else is read anew for each blob. */
export class Retention {
  readonly #graph: GraphReader
  readonly #isGone: (access: Access) => boolean
  readonly #pins: readonly Pin[]
  /** By repository: the digests that its pinned tags point to. */
  readonly #pinnedIn = new Map<string, ReadonlySet<Digest>>()

  /** `isGone`: whether a recorded blob is no longer stored. */
  static async of(index: ContentIndex, isGone: (access: Access) => boolean): Promise<Retention> {
    const pins = (await index.pins()).flatMap((pattern) => parsePin(pattern) ?? [])
    return new Retention(index, isGone, pins)
  }

  private constructor(index: ContentIndex, isGone: (access: Access) => boolean, pins: readonly Pin[]) {
    this.#graph = new GraphReader(index)
    this.#isGone = isGone
    this.#pins = pins
  }

  /** Climbs to every stored manifest that leads to the blob. Costs as much as there are such manifests. */
  async reasonToKeep({ digest, at }: Access): Promise<KeepReason> {
    let since = Number.NEGATIVE_INFINITY
    const accesses = new Map<Digest, Access>()
    for await (const ancestor of walk(digest, (part) => this.#storedParents(part, accesses))) {
      if (await this.#isPinned(ancestor)) return 'pinned'
      since = Math.max(since, accesses.get(ancestor)?.at ?? since)
    }
    return since < at ? 'none' : { since }
  }

  /** Adds the parents' last accesses to `accesses`, and asks for none that is known already. */
  async #storedParents(digest: Digest, accesses: Map<Digest, Access>): Promise<readonly Digest[]> {
    const stored: Digest[] = []
    for (const parent of await this.#graph.parentsOf(digest)) {
      const access = accesses.get(parent) ?? (await this.#graph.lastAccess(parent))
      if (!access || this.#isGone(access)) continue
      accesses.set(parent, access)
      stored.push(parent)
    }
    return stored
  }

  async #isPinned(digest: Digest): Promise<boolean> {
    if (this.#pins.length === 0) return false
    for (const repository of await this.#graph.repositoriesOf(digest)) {
      if ((await this.#pinned(repository)).has(digest)) return true
    }
    return false
  }

  async #pinned(repository: string): Promise<ReadonlySet<Digest>> {
    const known = this.#pinnedIn.get(repository)
    if (known) return known
    const pins = this.#pins.filter((pin) => pin.covers(repository))
    const tags = pins.length === 0 ? [] : await this.#graph.tagsOf(repository)
    const pinned = new Set(
      tags.filter(({ tag }) => pins.some((pin) => pin.matches(repository, tag))).map(({ digest }) => digest),
    )
    this.#pinnedIn.set(repository, pinned)
    return pinned
  }
}
