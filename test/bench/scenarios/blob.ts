import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { curl } from '../clients/curl.ts'
import { atLeast, atMost } from '../goal.ts'
import { measure } from '../meter.ts'
import { prime, primeBlob } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Findings, Scenario } from '../scenario.ts'
import type { Server } from '../servers/server.ts'
import { ratioOf } from '../stats.ts'
import { gigabyte, megabyte, type World } from '../world.ts'

interface Pace {
  /** How often each client downloads it in one round, so that its first steps count for little. */
  readonly times: number
  readonly rounds: number
  readonly warmUp: number
}

interface Crowd {
  readonly clients: number
  /**
   * The rates of one round swing by a tenth, so there are many; and with four clients by how nginx's workers happen to share
   * them, which makes its CPU differ by half.
   */
  readonly usual: Pace
  /** Absent where it is not worth the time. */
  readonly quick?: Pace
  /** Whether there are goals. */
  readonly bounded: boolean
}

const crowds: readonly Crowd[] = [
  { clients: 1, usual: { times: 10, rounds: 9, warmUp: 3 }, bounded: false },
  {
    clients: 4,
    usual: { times: 4, rounds: 31, warmUp: 3 },
    quick: { times: 2, rounds: 3, warmUp: 1 },
    bounded: true,
  },
  {
    clients: 32,
    usual: { times: 2, rounds: 13, warmUp: 3 },
    quick: { times: 1, rounds: 2, warmUp: 0 },
    bounded: true,
  },
]

export const blob: Scenario = {
  name: 'blob',
  needs: ['nginx', 'docker-registry', 'curl'],
  quick: true,
  async run(world) {
    const large = await world.large()
    const [mirror, registry, files] = await Promise.all([world.plain.mirror(), world.plain.registry(), world.files()])
    for (const cache of [mirror, registry]) await primeBlob(cache, large)
    await prime(files.blobUrl(large.digest), large)
    const findings: Findings[] = []
    for (const crowd of crowds) {
      const pace = world.isQuick ? crowd.quick : crowd.usual
      if (pace) findings.push(await downloads(world, [mirror, registry, files], large, { ...crowd, ...pace }))
    }
    return findings
  },
}

async function downloads(
  world: World,
  servers: readonly Server[],
  large: Descriptor,
  { clients, bounded, times, rounds, warmUp }: Crowd & Pace,
): Promise<Findings> {
  const contenders = servers.map((server) => contender(server, large, { clients, times }))
  const samples = await interleave(contenders, { rounds: world.rounds(rounds, rounds), warmUp, ...world.pace })
  const title = `Cached blob of 200 MB, ${clients} ${clients === 1 ? 'client' : 'clients'}`
  if (!bounded) return { title, samples, goals: [] }
  const [mirror = '', registry = '', files = ''] = servers.map(({ name }) => name)
  const goals = [
    atLeast(0.95, '×', "of nginx's throughput", ratioOf(samples, 'speed', mirror, files)),
    atLeast(1, '×', "of docker-registry's throughput", ratioOf(samples, 'speed', mirror, registry)),
    atMost(1.4, '×', "of nginx's CPU for each GB", ratioOf(samples, 'cpuPerGb', mirror, files)),
  ]
  return { title, samples, goals }
}

function contender(server: Server, { digest, size }: Descriptor, crowd: { clients: number; times: number }): Contender {
  return {
    name: server.name,
    async measure() {
      const url = server.blobUrl(digest)
      const { load, cpu, peak, others } = await measure({ server: server.process }, () => curl({ url, size }, crowd))
      return {
        speed: load.perSecond / megabyte,
        cpuPerGb: cpu / (load.bytes / gigabyte),
        peak: peak / megabyte,
        others,
      }
    },
  }
}
