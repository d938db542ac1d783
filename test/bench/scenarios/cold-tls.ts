import { coldPulls } from '../cold-pulls.ts'
import { atMost } from '../goal.ts'
import type { Scenario } from '../scenario.ts'

/** The same as `cold`, from an upstream that speaks TLS, as all in service do. */
export const coldTls: Scenario = {
  name: 'cold-tls',
  needs: ['nginx', 'docker-registry', 'distribution 3', 'curl'],
  quick: false,
  async run(world) {
    const { samples, time, goals } = await coldPulls(world, world.secure, world.rounds(9, 2))
    return [
      {
        title: 'Cold blob of 200 MB, 1 client, upstream over TLS',
        samples,
        goals: [
          atMost(0.8, '×', "the client's time, of distribution 3's", time.distribution),
          atMost(1.2, '×', "the client's time, of docker-registry's", time.registry),
          ...goals,
        ],
      },
    ]
  },
}
