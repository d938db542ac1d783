import { atLeast } from '../goal.ts'
import { hits } from '../hits.ts'
import { prime } from '../prime.ts'
import { interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import { acceptManifests as accept } from '../servers/server.ts'
import { ratioOf } from '../stats.ts'

export const logs =
  'Every server writes its line for every request, as it does by default; the row without a log does not count.'

const parsed =
  'Requests that were seen before, byte for byte, are answered without parsing them; "parsed anew" is the rate of others.'

/** No answer depends on it, but it is not among those that the mirror remembers requests with. */
const header = 'Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

export const manifest: Scenario = {
  name: 'manifest',
  needs: ['nginx', 'docker-registry', 'distribution 3', 'wrk'],
  quick: true,
  async run(world) {
    const { image, tag } = await world.image()
    const { digest } = image.manifest
    const { plain } = world
    const [mirror, registry, distribution, files] = await Promise.all([
      plain.mirror(),
      plain.registry(),
      plain.distribution(),
      world.files(),
    ])
    const seconds = world.isQuick ? 1 : 2
    const staticUrl = files.manifestUrl(digest)
    const tasks = [
      { name: 'Entrepôt, by digest', server: mirror, url: mirror.manifestUrl(digest), seconds, accept },
      { name: 'Entrepôt, by fresh tag', server: mirror, url: mirror.manifestUrl(tag), seconds, accept },
      { name: 'docker-registry, by digest', server: registry, url: registry.manifestUrl(digest), seconds, accept },
      {
        name: 'distribution 3, by digest',
        server: distribution,
        url: distribution.manifestUrl(digest),
        seconds,
        accept,
      },
      { name: 'nginx, static file', server: files, url: staticUrl, seconds, accept },
    ]
    // For comparison only.
    const others = [
      { name: 'docker-registry, by tag', server: registry, url: registry.manifestUrl(tag), seconds, accept },
      { name: 'distribution 3, by tag', server: distribution, url: distribution.manifestUrl(tag), seconds, accept },
      {
        name: 'Entrepôt, by digest, parsed anew',
        server: mirror,
        url: mirror.manifestUrl(digest),
        seconds,
        accept,
        header,
      },
      { name: 'nginx, static file, no log', server: files, url: files.quietUrl(staticUrl), seconds, accept },
    ]
    const all = world.isQuick ? tasks : [...tasks, ...others]
    for (const { url } of all) await prime(url, image.manifest, accept)
    const rounds = world.rounds(11, 2)
    const samples = await interleave(all.map(hits), { rounds, warmUp: 1, ...world.pace })
    const goals = ['by digest', 'by fresh tag'].flatMap((way) => {
      const of = (other: string) => ratioOf(samples, 'rate', `Entrepôt, ${way}`, other)
      return [
        atLeast(10, '×', `${way}, of distribution 3's rate by digest`, of('distribution 3, by digest')),
        atLeast(20, '×', `${way}, of docker-registry's rate by digest`, of('docker-registry, by digest')),
        atLeast(0.7, '×', `${way}, of nginx's rate`, of('nginx, static file')),
      ]
    })
    return [
      {
        title: `Cached manifest, ${image.manifest.size} bytes`,
        samples,
        goals,
        notes: world.isQuick ? [] : [logs, parsed],
      },
    ]
  },
}
