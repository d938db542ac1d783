import type { Violation } from '../violation.ts'
import { clocks } from './clocks.ts'
import { files } from './files.ts'
import type { KnownFault } from './known-fault.ts'
import { metadata } from './metadata.ts'
import { patience } from './patience.ts'
import { rest } from './rest.ts'
import { rights } from './rights.ts'
import { running } from './running.ts'

/** Every fault that is known and not mended yet. */
export const knownFaults: readonly KnownFault[] = [
  ...rights,
  ...rest,
  ...patience,
  ...files,
  ...metadata,
  ...running,
  ...clocks,
]

/** The names of the known faults that a violation of a random run may come from; none where it is new. */
export function toleratedAs(violation: Violation, done: ReadonlySet<string>): string[] {
  return knownFaults.filter(({ tolerates }) => tolerates?.(violation, done)).map(({ id }) => id)
}
