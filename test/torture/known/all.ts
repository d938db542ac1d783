import { answers } from './answers.ts'
import type { KnownFault, Violation } from './known-fault.ts'
import { patience } from './patience.ts'
import { rest } from './rest.ts'
import { rights } from './rights.ts'

/** Every fault that is known and not mended yet. */
export const knownFaults: readonly KnownFault[] = [...answers, ...rights, ...rest, ...patience]

/** The names of the known faults that a violation of a random run may come from; none where it is new. */
export function toleratedAs(violation: Violation): string[] {
  return knownFaults.filter(({ tolerates }) => tolerates?.(violation)).map(({ id }) => id)
}
