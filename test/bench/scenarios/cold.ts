import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { curl } from '../clients/curl.ts'
import { shell } from '../clients/shell.ts'
import { atMost } from '../goal.ts'
import { measure } from '../meter.ts'
import { stored } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import type { Nginx } from '../servers/nginx.ts'
import type { Cache } from '../servers/server.ts'
import { medianOf, ratioOf } from '../stats.ts'
import { megabyte, type World } from '../world.ts'

/** One client, and an upstream that is as fast as the machine. */
export const cold: Scenario = {
  name: 'cold',
  needs: ['nginx', 'docker-registry', 'curl'],
  quick: true,
  async run(world) {
    const [upstream, mirror, registry] = await Promise.all([world.upstream(), world.mirror(), world.registry()])
    const rounds = world.rounds(9, 2)
    const blobs = new Map<number, Promise<Descriptor>>()
    const blobOf = (round: number): Promise<Descriptor> => {
      const blob = blobs.get(round) ?? settle(world).then(() => world.content.addNoise(200 * megabyte))
      blobs.set(round, blob)
      return blob
    }
    const contenders = [pull(mirror, upstream, blobOf), pull(registry, upstream, blobOf), direct(upstream, blobOf)]
    const samples = await interleave(contenders, { rounds, warmUp: world.isQuick ? 1 : 3, ...world.pace })
    const of = (column: string) => ratioOf(samples, column, mirror.name, registry.name)
    const goals = [
      atMost(1.5, '×', "the client's time, of docker-registry's (aim: 1.0)", of('wall')),
      atMost(1.2, '×', "CPU until it is stored, of docker-registry's", of('cpu')),
      atMost(1, '×', 'upstream bytes', medianOf(samples, mirror.name, 'upstream')),
    ]
    return [{ title: 'Cold blob of 200 MB, 1 client', samples, goals }]
  },
}

/**
 * Before each round: the kernel lets go of what it keeps of earlier ones. Where the machine is a guest whose host takes free
 * memory back, whoever is the first to use more of it than was in use lately pays for that, four times over.
 */
async function settle(world: World): Promise<void> {
  await shell('sync && find "$1" -size +100M -exec dd if={} iflag=nocache count=0 status=none ";"', [world.dir])
}

function pull(cache: Cache, upstream: Nginx, blobOf: (round: number) => Promise<Descriptor>): Contender {
  return {
    name: cache.name,
    async measure(round) {
      const blob = await blobOf(round)
      // What others have written and the kernel has not would be waited for by whoever writes next.
      await shell('sync', [])
      const before = await upstream.asked(blob.digest)
      let storedAfter = 0
      const party = { server: cache.process, beside: [upstream.process] }
      const { load, cpu, peak, others } = await measure(party, async () => {
        const startedAt = performance.now()
        const load = await curl({ url: cache.blobUrl(blob.digest), size: blob.size }, { clients: 1 })
        await stored(cache, blob)
        storedAfter = (performance.now() - startedAt) / 1000
        return load
      })
      const asked = await upstream.asked(blob.digest)
      return {
        wall: load.slowest,
        stored: storedAfter,
        cpu,
        upstream: (asked.bytes - before.bytes) / blob.size,
        peak: peak / megabyte,
        others,
      }
    },
  }
}

function direct(upstream: Nginx, blobOf: (round: number) => Promise<Descriptor>): Contender {
  return {
    name: 'straight from the upstream',
    async measure(round) {
      const { digest, size } = await blobOf(round)
      const url = upstream.blobUrl(digest)
      const { load, cpu, others } = await measure({ server: upstream.process }, () =>
        curl({ url, size }, { clients: 1 }),
      )
      return { wall: load.slowest, cpu, others }
    },
  }
}
