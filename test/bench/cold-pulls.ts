import type { Descriptor } from '../../src/oci/descriptor.ts'
import { curl } from './clients/curl.ts'
import { shell } from './clients/shell.ts'
import { measure } from './meter.ts'
import { stored } from './prime.ts'
import { type Contender, interleave } from './rounds.ts'
import type { Nginx } from './servers/nginx.ts'
import type { Cache } from './servers/server.ts'
import { medianOf, ratioOf, type Samples } from './stats.ts'
import { megabyte, type World } from './world.ts'

export interface ColdPullsOptions {
  readonly upstream: Nginx
  readonly mirror: Cache
  readonly registry: Cache
  readonly rounds: number
}

export interface ColdPulls {
  readonly samples: Samples
  /** The client's, with the mirror, of docker-registry's. */
  readonly time: number
  /** Until it is stored, of docker-registry's. */
  readonly cpu: number
  /** What the mirror has asked for, of the blob. */
  readonly upstreamBytes: number
}

/** 200 MB that nobody has asked for, by one client: from each cache, and straight from their upstream. */
export async function coldPulls(
  world: World,
  { upstream, mirror, registry, rounds }: ColdPullsOptions,
): Promise<ColdPulls> {
  const blobs = new Map<number, Promise<Descriptor>>()
  const blobOf = (round: number): Promise<Descriptor> => {
    const blob = blobs.get(round) ?? settle(world).then(() => world.content.addNoise(200 * megabyte))
    blobs.set(round, blob)
    return blob
  }
  const contenders = [pull(mirror, upstream, blobOf), pull(registry, upstream, blobOf), direct(upstream, blobOf)]
  const samples = await interleave(contenders, { rounds, warmUp: world.isQuick ? 1 : 3, ...world.pace })
  const of = (column: string) => ratioOf(samples, column, mirror.name, registry.name)
  return { samples, time: of('wall'), cpu: of('cpu'), upstreamBytes: medianOf(samples, mirror.name, 'upstream') }
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
        curl({ url, size }, { clients: 1, trusted: upstream.certificate }),
      )
      return { wall: load.slowest, cpu, others }
    },
  }
}
