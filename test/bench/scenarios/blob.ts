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

/**
 * `times`: how often each client downloads it in one round, so that its first steps count for little. The rates
 * of one round swing by a tenth, so there are many; and with four clients by how nginx's workers happen to share them,
 * which makes its CPU differ by half.
 */
const crowds = [
  { clients: 1, times: 10, quickTimes: 5, rounds: 9, bounded: false },
  { clients: 4, times: 4, quickTimes: 2, rounds: 31, bounded: true },
  { clients: 32, times: 2, quickTimes: 1, rounds: 13, bounded: true },
]

type Crowd = (typeof crowds)[number]

export const blob: Scenario = {
  name: 'blob',
  needs: ['nginx', 'docker-registry', 'curl'],
  quick: true,
  async run(world) {
    const large = await world.large()
    const [mirror, registry, files] = await Promise.all([world.mirror(), world.registry(), world.files()])
    for (const cache of [mirror, registry]) await primeBlob(cache, large)
    await prime(files.blobUrl(large.digest), large)
    const findings: Findings[] = []
    for (const crowd of crowds) findings.push(await downloads(world, [mirror, registry, files], large, crowd))
    return findings
  },
}

async function downloads(world: World, servers: readonly Server[], large: Descriptor, crowd: Crowd): Promise<Findings> {
  const { clients, bounded } = crowd
  const times = world.isQuick ? crowd.quickTimes : crowd.times
  const contenders = servers.map((server) => contender(server, large, { clients, times }))
  const rounds = world.rounds(crowd.rounds, 2)
  const samples = await interleave(contenders, { rounds, warmUp: world.isQuick ? 0 : 3, ...world.pace })
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
