import type { World } from './world.ts'

/** What a random run finds: the rule that was broken, and how. */
export interface Violation {
  readonly invariant: string
  readonly detail: string
}

/**
 * A fault of today's code that is known and not mended yet, with a play that shows it.
 *
 * The play tells what it saw. As long as that is `today`, the fault is there. Once it is `right`, the fault is mended:
 * it is taken out of here, and its play becomes a test of its own. Anything else is a failure of the play.
 */
export interface KnownFault {
  readonly id: string
  /** One sentence: what happens today. */
  readonly fault: string
  /** One sentence: what must happen. */
  readonly should: string
  /** Tells in a few words what was seen. Rejects where the play itself did not work. */
  readonly observe: (world: World) => Promise<string>
  readonly today: string
  readonly right: string
  /** Whether a random run may have met this fault; nothing is tolerated where it is left out. */
  readonly tolerates?: (violation: Violation) => boolean
}

/** Throws where a play has not got to where its fault begins: then it says nothing of the fault. */
export function given(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the play did not work: ${what}`)
}

/** A violation of this invariant whose detail has all of these words: narrow, so that nothing new passes for known. */
export function explains(invariant: string, ...words: readonly string[]): (violation: Violation) => boolean {
  return (violation) => violation.invariant === invariant && words.every((word) => violation.detail.includes(word))
}
