import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { wrk } from '../clients/wrk.ts'
import { atMost } from '../goal.ts'
import { prime, primeBlob } from '../prime.ts'
import type { Scenario } from '../scenario.ts'
import type { MirrorServer } from '../servers/mirror.ts'
import { acceptManifests as accept } from '../servers/server.ts'
import { median } from '../stats.ts'
import { memoryOf } from '../usage.ts'
import { megabyte, type World } from '../world.ts'
import { randomRanges } from './ranges.ts'

const coldSize = 2 * megabyte
const coldBlobs = 400

/** Whether memory goes on growing under everything at once: manifests, small blobs, ranges, misses, clients that leave. */
export const soak: Scenario = {
  name: 'soak',
  needs: ['nginx', 'wrk'],
  quick: false,
  async run(world) {
    const seconds = world.isQuick ? 20 : 120
    const upstream = await world.plain.upstream()
    const mirror = await world.startMirror({ upstream: upstream.url })
    const blobs: Descriptor[] = []
    for (let at = 0; at < coldBlobs; at += 1) blobs.push(await world.content.addNoise(coldSize))
    const ending = AbortSignal.timeout(seconds * 1000)
    const [resident] = await Promise.all([
      watch(mirror, ending, world.progress),
      ...(await hot(world, mirror, seconds)),
      misses(mirror, blobs, ending),
    ])
    const [early, late] = [partOf(resident, 0.25, 0.5), partOf(resident, 0.75, 1)]
    const samples = new Map([
      ['Entrepôt, 25 to 50 % of the time', [{ resident: median(early), peak: Math.max(...early) }]],
      ['Entrepôt, 75 to 100 % of the time', [{ resident: median(late), peak: Math.max(...late) }]],
    ])
    const growth = (median(late) / median(early) - 1) * 100
    const title = `Memory under a mixed load of ${seconds} s`
    return [{ title, samples, goals: [atMost(10, '%', 'growth of the resident size', growth)] }]
  },
}

/** Resident megabytes, each second. */
async function watch(
  mirror: MirrorServer,
  ending: AbortSignal,
  onProgress: (text: string) => void,
): Promise<readonly number[]> {
  const resident: number[] = []
  while (!ending.aborted) {
    resident.push((await memoryOf([mirror.process.pid])).now / megabyte)
    onProgress(`mixed load: ${resident.length} s, ${resident.at(-1)?.toFixed(0)} MB`)
    await sleep(1000)
  }
  return resident
}

/** Everything that is cached, over a few connections. */
async function hot(world: World, mirror: MirrorServer, seconds: number): Promise<Promise<unknown>[]> {
  const { image, tag } = await world.image()
  const large = await world.large()
  await prime(mirror.manifestUrl(tag), image.manifest, accept)
  await primeBlob(mirror, image.config)
  await primeBlob(mirror, large)
  const script = `${world.folder('ranges')}.lua`
  await writeFile(script, randomRanges(large.size))
  const connections = 4
  return [
    wrk(mirror.manifestUrl(tag), { seconds, connections, accept }),
    wrk(mirror.blobUrl(image.config.digest), { seconds, connections }),
    wrk(mirror.blobUrl(large.digest), { seconds, connections, script }),
  ]
}

/** One blob after the other, for as long as there are any; every third client leaves in the middle. */
async function misses(mirror: MirrorServer, blobs: readonly Descriptor[], ending: AbortSignal): Promise<void> {
  for (const [at, blob] of blobs.entries()) {
    if (ending.aborted) return
    if (at % 3 === 0) await leaveEarly(mirror.blobUrl(blob.digest))
    else await prime(mirror.blobUrl(blob.digest), blob)
    await sleep(50)
  }
}

async function leaveEarly(url: string): Promise<void> {
  const leaving = new AbortController()
  const response = await fetch(url, { signal: leaving.signal })
  await response.body?.getReader().read()
  leaving.abort()
}

function partOf(values: readonly number[], from: number, to: number): readonly number[] {
  return values.slice(Math.floor(values.length * from), Math.ceil(values.length * to))
}
