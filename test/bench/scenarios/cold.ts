import { coldPulls } from '../cold-pulls.ts'
import { atMost } from '../goal.ts'
import type { Scenario } from '../scenario.ts'

/** One client, and an upstream that is as fast as the machine. */
export const cold: Scenario = {
  name: 'cold',
  needs: ['nginx', 'docker-registry', 'distribution 3', 'curl'],
  quick: true,
  async run(world) {
    const { samples, time, goals } = await coldPulls(world, world.plain, world.rounds(9, 2))
    const notes = [`The client's time is ${time.registry.toFixed(2)} × docker-registry's, which downloads twice.`]
    return [
      {
        title: 'Cold blob of 200 MB, 1 client',
        samples,
        goals: [atMost(1, '×', "the client's time, of distribution 3's", time.distribution), ...goals],
        notes,
      },
    ]
  },
}
