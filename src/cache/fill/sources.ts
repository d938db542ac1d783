import { RegistryError } from '../../oci/error.ts'
import type { Origin } from '../origin.ts'

/** A repository that a fill may draw from. */
export interface Source {
  readonly origin: Origin
  /** What its manifests claim in bytes, if any do. */
  readonly size: number | undefined
  /** Whether it is known to hold the blob; where it is not, that it answers is the proof. */
  readonly proven: boolean
}

/** The repositories that one fill may draw from, in the order in which they came, and what became of each. */
export class Sources {
  readonly first: Origin
  readonly #all: Source[]
  readonly #proven = new Set<string>()
  readonly #failures = new Map<string, unknown>()
  #next = 0

  constructor(first: Source) {
    this.first = first.origin
    this.#all = [first]
    if (first.proven) this.#proven.add(first.origin.repository)
  }

  /** The next to draw from; undefined where all have failed. */
  take(): Source | undefined {
    const source = this.#all[this.#next]
    if (source) this.#next += 1
    return source
  }

  /** A proven repository to go on from, should those before it fail. */
  offer(source: Source): void {
    const { repository } = source.origin
    if (this.#refused(repository)) return
    this.#proven.add(repository)
    if (!this.#all.some(({ origin }) => origin.repository === repository)) this.#all.push(source)
  }

  /** It has answered with the blob. */
  answered({ origin }: Source): void {
    this.#proven.add(origin.repository)
  }

  /** It cannot be drawn from; where the reason is a RegistryError, because it does not hold the blob. */
  failed({ origin: { repository } }: Source, reason: unknown): void {
    this.#failures.set(repository, reason)
    if (this.#refused(repository)) this.#proven.delete(repository)
  }

  /** Why this repository cannot be drawn from; undefined where it can, or was not tried. */
  failureOf({ repository }: Origin): unknown {
    return this.#failures.get(repository)
  }

  /** Whether this repository is proven to hold the blob, here at least. */
  isProven({ repository }: Origin): boolean {
    return this.#proven.has(repository)
  }

  /** Whether this repository is neither proven to hold the blob nor going to show it by itself. */
  needsProof({ repository }: Origin): boolean {
    if (this.#proven.has(repository) || this.#refused(repository)) return false
    return this.#failures.has(repository) || !this.#all.some(({ origin }) => origin.repository === repository)
  }

  #refused(repository: string): boolean {
    return this.#failures.get(repository) instanceof RegistryError
  }
}
