import { atLeast } from '../goal.ts'
import { hits } from '../hits.ts'
import { prime, primeBlob } from '../prime.ts'
import { interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import { acceptManifests } from '../servers/server.ts'
import { ratioOf } from '../stats.ts'
import { logs } from './manifest.ts'

export const config: Scenario = {
  name: 'config',
  needs: ['nginx', 'docker-registry', 'distribution 3', 'wrk'],
  quick: true,
  async run(world) {
    const { image, tag } = await world.image()
    const { config: blob } = image
    const { plain } = world
    const [mirror, registry, distribution, files] = await Promise.all([
      plain.mirror(),
      plain.registry(),
      plain.distribution(),
      world.files(),
    ])
    // As a client does it: the manifest names its blobs.
    for (const cache of [mirror, registry, distribution]) {
      await prime(cache.manifestUrl(tag), image.manifest, acceptManifests)
      await primeBlob(cache, blob)
    }
    await prime(files.blobUrl(blob.digest), blob)
    const seconds = world.isQuick ? 1 : 2
    const contenders = [mirror, registry, distribution, files].map((server) =>
      hits({ name: server.name, server, url: server.blobUrl(blob.digest), seconds }),
    )
    const quiet = files.quietUrl(files.blobUrl(blob.digest))
    if (!world.isQuick) contenders.push(hits({ name: 'nginx, no log', server: files, url: quiet, seconds }))
    const rounds = world.rounds(11, 2)
    const samples = await interleave(contenders, { rounds, warmUp: 1, ...world.pace })
    const of = (other: string) => ratioOf(samples, 'rate', mirror.name, other)
    const goals = [
      atLeast(10, '×', "of distribution 3's rate", of(distribution.name)),
      atLeast(20, '×', "of docker-registry's rate", of(registry.name)),
      atLeast(0.7, '×', "of nginx's rate", of(files.name)),
    ]
    return [{ title: `Cached small blob, ${blob.size} bytes`, samples, goals, notes: world.isQuick ? [] : [logs] }]
  },
}
