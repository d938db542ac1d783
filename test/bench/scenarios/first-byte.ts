import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { type FirstByte, FirstByteClient } from '../clients/first-byte.ts'
import { atMost } from '../goal.ts'
import { stored } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import type { Cache } from '../servers/server.ts'
import { columnOf, medianOf, percentile } from '../stats.ts'
import { megabyte } from '../world.ts'

/** How much later a miss begins than the upstream itself would. */
export const firstByteOnMiss: Scenario = {
  name: 'first-byte',
  needs: ['nginx', 'docker-registry'],
  quick: true,
  async run(world) {
    const [upstream, mirror, registry] = await Promise.all([
      world.plain.upstream(),
      world.plain.mirror(),
      world.plain.registry(),
    ])
    const rounds = world.rounds(160, 20)
    const warmUp = world.isQuick ? 20 : 300
    const blobs = new Map<number, Descriptor>()
    for (let round = 1 - warmUp; round <= rounds; round += 1) blobs.set(round, await world.content.addNoise(megabyte))
    const blobOf = (round: number) => blobs.get(round) as Descriptor
    const clients = await Promise.all([upstream, mirror, registry].map(({ url }) => FirstByteClient.connect(url)))
    using stack = new DisposableStack()
    for (const client of clients) stack.use(client)
    const [toUpstream, ...toCaches] = clients as [FirstByteClient, FirstByteClient, FirstByteClient]
    const direct: Contender = {
      name: 'straight from the upstream',
      measure: async (round) => sampleOf(await toUpstream.get(upstream.blobUrl(blobOf(round).digest))),
    }
    const contenders = [direct, miss(mirror, toCaches[0], blobOf), miss(registry, toCaches[1], blobOf)]
    const samples = await interleave(contenders, { rounds, warmUp, ...world.pace })
    const later = medianOf(samples, mirror.name, 'firstByte') - medianOf(samples, direct.name, 'firstByte')
    const notes = [...samples.keys()].map((name) => {
      const late = percentile(columnOf(samples, name, 'firstByte'), 95)
      return `${name}: 95 of 100 within ${late.toFixed(2)} ms`
    })
    return [
      {
        title: 'First byte of the body on a miss, blobs of 1 MB',
        samples,
        goals: [atMost(3, 'ms', "over the upstream's own", later)],
        notes,
      },
    ]
  },
}

function miss(cache: Cache, client: FirstByteClient, blobOf: (round: number) => Descriptor): Contender {
  return {
    name: cache.name,
    async measure(round) {
      const blob = blobOf(round)
      const sample = sampleOf(await client.get(cache.blobUrl(blob.digest)))
      await stored(cache, blob)
      return sample
    },
  }
}

function sampleOf({ headers, body }: FirstByte): { headers: number; firstByte: number } {
  return { headers, firstByte: body }
}
