import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { pullImage } from '../clients/skopeo.ts'
import type { Published } from '../content.ts'
import { measure } from '../meter.ts'
import { stored } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import type { Nginx } from '../servers/nginx.ts'
import type { Cache } from '../servers/server.ts'
import { gigabyte, megabyte, type World } from '../world.ts'

/** Megabytes: about what a language runtime's image looks like. */
const layers = [50, 30, 20, 15, 8, 4, 1, 0.1]

/** A whole image with a real client. */
export const image: Scenario = {
  name: 'image',
  needs: ['nginx', 'docker-registry', 'skopeo'],
  quick: false,
  async run(world) {
    const [upstream, mirror, registry] = await Promise.all([
      world.plain.upstream(),
      world.plain.mirror(),
      world.plain.registry(),
    ])
    const rounds = world.rounds(5, 1)
    const images: Published[] = []
    for (let round = 0; round <= rounds; round += 1) images.push(await publish(world))
    const imageOf = (round: number) => images[round] as Published
    const contenders = [
      ...[mirror, registry].map((cache) => pull(world, cache, imageOf)),
      direct(world, upstream, imageOf),
    ]
    const samples = await interleave(contenders, { rounds, warmUp: 1, ...world.pace })
    const size = layers.reduce((total, megabytes) => total + megabytes, 0)
    return [{ title: `Image of ${layers.length} layers, ${size.toFixed(0)} MB, by skopeo`, samples, goals: [] }]
  },
}

async function publish(world: World): Promise<Published> {
  const made: Descriptor[] = []
  for (const megabytes of layers) made.push(await world.content.addNoise(Math.round(megabytes * megabyte)))
  return world.content.addImage(made)
}

function pull(world: World, cache: Cache, imageOf: (round: number) => Published): Contender {
  return {
    name: cache.name,
    async measure(round) {
      const { image, tag } = imageOf(round)
      const blobs = [...layersOf(image.manifest.body), image.config]
      const folder = world.folder('pulled')
      const cold = await measure({ server: cache.process }, async () => {
        const load = await pullImage(cache.manifestUrl(tag), folder)
        for (const blob of blobs) await stored(cache, blob)
        return load
      })
      const warm = await measure({ server: cache.process }, () => pullImage(cache.manifestUrl(tag), folder))
      const bytes = blobs.reduce((total, { size }) => total + size, 0)
      return {
        cold: cold.load.seconds,
        warm: warm.load.seconds,
        cpu: cold.cpu,
        cpuPerGb: warm.cpu / (bytes / gigabyte),
        peak: Math.max(cold.peak, warm.peak) / megabyte,
        others: Math.max(cold.others, warm.others),
      }
    },
  }
}

function direct(world: World, upstream: Nginx, imageOf: (round: number) => Published): Contender {
  return {
    name: 'straight from the upstream',
    async measure(round) {
      const url = upstream.manifestUrl(imageOf(round).tag)
      const load = await pullImage(url, world.folder('pulled'))
      return { cold: load.seconds }
    },
  }
}

function layersOf(manifest: Buffer): readonly Descriptor[] {
  return (JSON.parse(manifest.toString()) as { layers: Descriptor[] }).layers
}
