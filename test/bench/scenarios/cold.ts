import { coldPulls } from '../cold-pulls.ts'
import { atMost } from '../goal.ts'
import type { Scenario } from '../scenario.ts'

/** One client, and an upstream that is as fast as the machine. */
export const cold: Scenario = {
  name: 'cold',
  needs: ['nginx', 'docker-registry', 'curl'],
  quick: true,
  async run(world) {
    const [upstream, mirror, registry] = await Promise.all([
      world.plain.upstream(),
      world.plain.mirror(),
      world.plain.registry(),
    ])
    const rounds = world.rounds(9, 2)
    const { samples, time, cpu, upstreamBytes } = await coldPulls(world, { upstream, mirror, registry, rounds })
    const goals = [
      atMost(1.5, '×', "the client's time, of docker-registry's (aim: 1.0)", time),
      atMost(1.2, '×', "CPU until it is stored, of docker-registry's", cpu),
      atMost(1, '×', 'upstream bytes', upstreamBytes),
    ]
    return [{ title: 'Cold blob of 200 MB, 1 client', samples, goals }]
  },
}
