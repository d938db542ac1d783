import type { Goal } from './goal.ts'
import type { Need } from './programs.ts'
import type { Samples } from './stats.ts'
import type { World } from './world.ts'

/** What one scenario found. */
export interface Findings {
  readonly title: string
  readonly samples: Samples
  readonly goals: readonly Goal[]
  /** What has to be known to read the figures. */
  readonly notes?: readonly string[]
}

export interface Scenario {
  readonly name: string
  readonly needs: readonly Need[]
  /** Whether it is part of a quick run. */
  readonly quick: boolean
  run(world: World): Promise<readonly Findings[]>
}
