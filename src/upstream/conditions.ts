import { LRUCache } from 'lru-cache'
import type { KnownTag } from './upstream.ts'

/** Milliseconds of nothing but 304s, after which a tag is asked for once without a condition. */
const longestUnseen = 24 * 60 * 60 * 1000

/**
 * When to ask conditionally. A server that compares the wrong validator would answer 304 for ever, and so would one whose
 * ETag was bound to the wrong content: once a day each tag has to show its digest. Kept in memory, so a restart begins
 * the day anew.
 */
export class Conditions {
  readonly #now: () => number
  /** By path: since when there were only 304s. */
  readonly #unseenSince = new LRUCache<string, number>({ max: 16_384 })

  /** Epoch milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** What is known, with its ETag only where the question may be conditional. */
  of(path: string, known: KnownTag | undefined): KnownTag | undefined {
    const since = this.#unseenSince.get(path)
    const due = since !== undefined && this.#now() - since >= longestUnseen
    return known && due ? { ...known, etag: undefined } : known
  }

  /** Call when it was answered with 304. */
  unseen(path: string): void {
    if (!this.#unseenSince.has(path)) this.#unseenSince.set(path, this.#now())
  }

  /** Call when it was answered with its digest. */
  seen(path: string): void {
    this.#unseenSince.delete(path)
  }

  /** Call when a 304 contradicted what is known: the next question is unconditional. */
  doubted(path: string): void {
    this.#unseenSince.set(path, Number.NEGATIVE_INFINITY)
  }
}
