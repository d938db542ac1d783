import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { curlEach } from '../clients/curl.ts'
import { type WrkLoad, wrk } from '../clients/wrk.ts'
import { ColdBlobs } from '../cold-blobs.ts'
import { atLeast, atMost } from '../goal.ts'
import { type Load, measure } from '../meter.ts'
import { prime, stored } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import type { Nginx } from '../servers/nginx.ts'
import { acceptManifests, type Cache } from '../servers/server.ts'
import { medianOf, ratioOf, sum } from '../stats.ts'
import { megabyte } from '../world.ts'

const count = 8
const size = 100 * megabyte
const connections = 2
/** Seconds that the small requests go on at most: wrk has to be given an end. */
const patience = 60

interface Crowd extends Load {
  /** Of the small requests. */
  readonly small: WrkLoad
}

/** A machine that several images arrive at: cold blobs at once, and small hits that do not want to wait for them. */
export const crowdTls: Scenario = {
  name: 'crowd-tls',
  needs: ['nginx', 'docker-registry', 'distribution 3', 'curl', 'wrk'],
  quick: false,
  async run(world) {
    const { secure } = world
    const [upstream, mirror, registry, distribution] = await Promise.all([
      secure.upstream(),
      secure.mirror(),
      secure.registry(),
      secure.distribution(),
    ])
    const caches = [mirror, registry, distribution]
    const { image, tag } = await world.image()
    for (const cache of caches) await prime(cache.manifestUrl(tag), image.manifest, acceptManifests)
    const blobs = new ColdBlobs(world, { count, size, caches })
    const blobsOf = (round: number) => blobs.of(round)
    const contenders = caches.map((cache) => arrival(cache, upstream, { small: image.manifest, blobsOf }))
    const samples = await interleave(contenders, { rounds: world.rounds(7, 1), warmUp: 3, ...world.pace })
    const of = (column: string) => ratioOf(samples, column, mirror.name, distribution.name)
    const goals = [
      atMost(0.95, '×', "last client done, of distribution 3's time", of('wall')),
      atLeast(4, '×', "manifests by digest meanwhile, of distribution 3's rate", of('rate')),
      atMost(0.35, '×', "their p99, of distribution 3's", of('p99')),
      atMost(1, '×', 'upstream bytes', medianOf(samples, mirror.name, 'upstream')),
    ]
    const title = `${count} cold blobs of 100 MB at once, upstream over TLS, and a cached manifest on ${connections} connections meanwhile`
    const notes = [
      'CPU is until all are stored, and includes that of the manifests: who answers more of them uses more.',
    ]
    return [{ title, samples, goals, notes }]
  },
}

interface Arriving {
  /** A manifest: of small content, what the peers answer fastest. */
  readonly small: Descriptor
  readonly blobsOf: (round: number) => Promise<readonly Descriptor[]>
}

function arrival(cache: Cache, upstream: Nginx, { small, blobsOf }: Arriving): Contender {
  return {
    name: cache.name,
    async measure(round) {
      const blobs = await blobsOf(round)
      const before = await askedFor(upstream, blobs)
      const party = { server: cache.process, beside: [upstream.process] }
      let storedAfter = 0
      const { load, cpu, peak, others } = await measure(party, async () => {
        const startedAt = performance.now()
        const load = await pullAll(cache, blobs, small)
        for (const blob of blobs) await stored(cache, blob)
        storedAfter = (performance.now() - startedAt) / 1000
        return load
      })
      return {
        rate: load.small.perSecond,
        p50: load.small.p50,
        p99: load.small.p99,
        wall: load.seconds,
        stored: storedAfter,
        cpu,
        upstream: ((await askedFor(upstream, blobs)) - before) / (count * size),
        peak: peak / megabyte,
        others,
      }
    },
  }
}

/** The small requests begin with the downloads, and end with the last of them. */
async function pullAll(cache: Cache, blobs: readonly Descriptor[], small: Descriptor): Promise<Crowd> {
  const done = new AbortController()
  const downloads = blobs.map(({ digest, size }) => ({ url: cache.blobUrl(digest), size }))
  const begun = Promise.withResolvers<void>()
  const hits = begun.promise.then(() =>
    wrk(cache.manifestUrl(small.digest), {
      seconds: patience,
      until: done.signal,
      connections,
      accept: acceptManifests,
    }),
  )
  const pulls = curlEach(downloads, { onBegin: begun.resolve }).finally(() => done.abort())
  const [load, answers] = await Promise.all([pulls, hits])
  return { ...load, cpu: load.cpu + answers.cpu, small: answers }
}

/** Bytes of all of them. */
async function askedFor(upstream: Nginx, blobs: readonly Descriptor[]): Promise<number> {
  const asked = await Promise.all(blobs.map(({ digest }) => upstream.asked(digest)))
  return sum(asked.map(({ bytes }) => bytes))
}
