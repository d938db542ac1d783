import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { curl } from '../clients/curl.ts'
import { atMost } from '../goal.ts'
import { measure } from '../meter.ts'
import { stored } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import type { MirrorServer } from '../servers/mirror.ts'
import type { Throttled } from '../servers/throttled.ts'
import { columnOf, median, medianOf, ratioOf } from '../stats.ts'
import { megabyte } from '../world.ts'

const clients = 32
const bytesPerSecond = 50 * megabyte

type BlobOf = (round: number) => Descriptor

/** Many clients that want the same cold blob at once, over a line of 50 MB/s. */
export const crowd: Scenario = {
  name: 'crowd',
  needs: ['curl'],
  quick: false,
  async run(world) {
    const upstream = await world.startThrottled(bytesPerSecond)
    const mirror = await world.startMirror({ upstream: upstream.url })
    const rounds = world.rounds(5, 1)
    const blobs: Descriptor[] = []
    for (let round = 0; round < rounds; round += 1) blobs.push(await world.content.addNoise(200 * megabyte))
    const blobOf: BlobOf = (round) => blobs[round - 1] as Descriptor
    // In this order: a round's cold blob is the next one's warm.
    const contenders = [direct(upstream, blobOf), cold(mirror, upstream, blobOf), warm(mirror, blobOf)]
    const samples = await interleave(contenders, { rounds, warmUp: 0, ...world.pace })
    const [one = '', all = '', again = ''] = contenders.map(({ name }) => name)
    const [alone, warmed] = [columnOf(samples, one, 'wall'), columnOf(samples, again, 'wall')]
    const late = columnOf(samples, all, 'wall').map((wall, at) => wall / ((alone[at] ?? 0) + (warmed[at] ?? 0)))
    const goals = [
      atMost(1.05, '×', 'last client done, of one direct download', ratioOf(samples, 'wall', all, one)),
      atMost(1, '×', 'last client done, of one direct download and a warm run', median(late)),
      atMost(1, '×', 'upstream bytes', medianOf(samples, all, 'upstream')),
    ]
    return [{ title: `Cold blob of 200 MB, ${clients} clients, upstream at 50 MB/s`, samples, goals }]
  },
}

function direct(upstream: Throttled, blobOf: BlobOf): Contender {
  return {
    name: 'straight from the upstream, 1 client',
    async measure(round) {
      const { digest, size } = blobOf(round)
      const url = upstream.blobUrl(digest)
      const { load, cpu, others } = await measure({ server: upstream.process }, () =>
        curl({ url, size }, { clients: 1 }),
      )
      return { wall: load.seconds, cpu, others }
    },
  }
}

function cold(mirror: MirrorServer, upstream: Throttled, blobOf: BlobOf): Contender {
  return {
    name: `Entrepôt, cold, ${clients} clients`,
    async measure(round) {
      const blob = blobOf(round)
      const { digest, size } = blob
      const before = await upstream.asked(digest)
      const party = { server: mirror.process, beside: [upstream.process] }
      const { load, cpu, peak, others } = await measure(party, () =>
        curl({ url: mirror.blobUrl(digest), size }, { clients }),
      )
      await stored(mirror, blob)
      const bytes = (await upstream.asked(digest)).bytes - before.bytes
      return { wall: load.seconds, cpu, upstream: bytes / size, peak: peak / megabyte, others }
    },
  }
}

function warm(mirror: MirrorServer, blobOf: BlobOf): Contender {
  return {
    name: `Entrepôt, warm, ${clients} clients`,
    async measure(round) {
      const { digest, size } = blobOf(round)
      const url = mirror.blobUrl(digest)
      const { load, cpu, peak, others } = await measure({ server: mirror.process }, () =>
        curl({ url, size }, { clients }),
      )
      return { wall: load.seconds, cpu, peak: peak / megabyte, others }
    },
  }
}
