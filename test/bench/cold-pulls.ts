import type { Descriptor } from '../../src/oci/descriptor.ts'
import type { Caches } from './caches.ts'
import { curl } from './clients/curl.ts'
import { ColdBlobs } from './cold-blobs.ts'
import { atMost, type Goal } from './goal.ts'
import { measure } from './meter.ts'
import { stored } from './prime.ts'
import { type Contender, interleave } from './rounds.ts'
import type { Nginx } from './servers/nginx.ts'
import type { Cache } from './servers/server.ts'
import { medianOf, ratioOf, type Samples } from './stats.ts'
import { megabyte, type World } from './world.ts'

export interface ColdPulls {
  readonly samples: Samples
  /** The client's time with the mirror, of that with each peer. */
  readonly time: Readonly<Record<'distribution' | 'registry', number>>
  /** What both scenarios demand: CPU, and what the mirror asks of its upstream. */
  readonly goals: readonly Goal[]
}

type BlobOf = (round: number) => Promise<Descriptor>

/** 200 MB that nobody has asked for, by one client: from each cache, and straight from their upstream. */
export async function coldPulls(world: World, caches: Caches, rounds: number): Promise<ColdPulls> {
  const upstream = await caches.upstream()
  const [mirror, registry, distribution] = await Promise.all([
    caches.mirror(),
    caches.registry(),
    caches.distribution(),
  ])
  const stores = [mirror, registry, distribution]
  const blobs = new ColdBlobs(world, { count: 1, size: 200 * megabyte, caches: stores })
  const blobOf: BlobOf = async (round) => {
    const [blob] = await blobs.of(round)
    return blob as Descriptor
  }
  const contenders = [...stores.map((cache) => pull(cache, upstream, blobOf)), direct(upstream, blobOf)]
  const samples = await interleave(contenders, { rounds, warmUp: world.isQuick ? 1 : 3, ...world.pace })
  const of = (column: string, other: Cache) => ratioOf(samples, column, mirror.name, other.name)
  const time = { distribution: of('wall', distribution), registry: of('wall', registry) }
  const goals = [
    atMost(1.2, '×', "CPU until it is stored, of distribution 3's", of('cpu', distribution)),
    atMost(1, '×', 'upstream bytes', medianOf(samples, mirror.name, 'upstream')),
  ]
  return { samples, time, goals }
}

function pull(cache: Cache, upstream: Nginx, blobOf: BlobOf): Contender {
  return {
    name: cache.name,
    async measure(round) {
      const blob = await blobOf(round)
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

function direct(upstream: Nginx, blobOf: BlobOf): Contender {
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
