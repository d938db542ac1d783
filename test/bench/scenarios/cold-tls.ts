import { coldPulls } from '../cold-pulls.ts'
import type { Scenario } from '../scenario.ts'

/** The same as `cold`, from an upstream that speaks TLS, as all in service do. */
export const coldTls: Scenario = {
  name: 'cold-tls',
  needs: ['nginx', 'docker-registry', 'curl'],
  quick: false,
  async run(world) {
    const [upstream, mirror, registry] = await Promise.all([
      world.secure.upstream(),
      world.secure.mirror(),
      world.secure.registry(),
    ])
    const rounds = world.rounds(5, 2)
    const { samples, time, cpu, upstreamBytes } = await coldPulls(world, { upstream, mirror, registry, rounds })
    const notes = [
      `The client's time is ${times(time)} docker-registry's, CPU until it is stored ${times(cpu)}; upstream bytes ${times(upstreamBytes)}.`,
    ]
    return [{ title: 'Cold blob of 200 MB, 1 client, upstream over TLS', samples, goals: [], notes }]
  },
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`
}
