import type { Invariant, Violation } from '../violation.ts'
import type { World } from './world.ts'

/** `done`: what has been done in the run, by the names of deeds, `truncate DIGEST`, `flip DIGEST at PLACE`. */
export type Tolerates = (violation: Violation, done: ReadonlySet<string>) => boolean

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
  /** Whether a violation of a random run comes from this fault; nothing is tolerated where it is left out. */
  readonly tolerates?: Tolerates
}

/** Throws where a play has not got to where its fault begins: then it says nothing of the fault. */
export function given(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the play did not work: ${what}`)
}

/** A violation of this invariant whose detail has all of these words: narrow, so that nothing new passes for known. */
export function explains(invariant: Invariant, ...words: readonly string[]): Tolerates {
  return (violation) => violation.invariant === invariant && words.every((word) => violation.detail.includes(word))
}

/** A violation of this invariant in a run in which one of these has been done. */
export function afterDeed(invariant: Invariant, ...deeds: readonly string[]): Tolerates {
  return (violation, done) => violation.invariant === invariant && deeds.some((deed) => done.has(deed))
}

/** Wrong bytes of a blob whose file was damaged without a change of its size, where it was damaged and nowhere else. */
export const afterDamage: Tolerates = ({ invariant, subject, detail }, done) => {
  const [, from, to] = / wrong between (\d+) and (\d+)/.exec(detail) ?? []
  if (invariant !== 'wrong-body' || from === undefined) return false
  const flipped = `flip ${digestIn(subject)} at `
  const places = [...done].filter((what) => what.startsWith(flipped)).map((what) => Number(what.slice(flipped.length)))
  return places.some((place) => place >= Number(from) && place < Number(to))
}

function digestIn(subject: string): string {
  return subject.slice(subject.indexOf('@') + 1)
}
