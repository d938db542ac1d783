import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '../../../src/oci/digest.ts'
import { atLeast } from '../goal.ts'
import { hits } from '../hits.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import { seedStore } from '../seed.ts'
import type { MirrorServer } from '../servers/mirror.ts'
import { ratioOf } from '../stats.ts'
import type { World } from '../world.ts'

const counts = [1_000, 100_000]
/** As many are in use at a time, of either store. */
const hot = 500
const patience = 120_000

/** Whether what is stored and not asked for slows down what is. */
export const stores: Scenario = {
  name: 'stores',
  needs: ['nginx', 'wrk'],
  quick: false,
  async run(world) {
    const upstream = await world.plain.upstream()
    const some: Contender[] = []
    const all: Contender[] = []
    for (const count of counts) {
      world.progress(`making ${count} blobs`)
      const dir = world.folder(`store-of-${count}`)
      const digests = await seedStore(dir, count)
      const name = `${count.toLocaleString('en')} blobs`
      const server = await world.startMirror({ dir, name, upstream: upstream.url })
      await rebuilt(server, count)
      some.push(await contender(world, server, `${name}, ${hot} of them in use`, digests.slice(0, hot)))
      all.push(await contender(world, server, `${name}, all in use`, digests))
    }
    const options = { warmUp: world.isQuick ? 1 : 2, ...world.pace } as const
    // One after the other: 100,000 in use push out of memory what the 500 had there.
    const samples = new Map([
      ...(await interleave(some, { rounds: world.rounds(15, 2), ...options })),
      ...(await interleave(all, { rounds: world.rounds(5, 2), ...options })),
    ])
    const [few = '', many = ''] = some.map(({ name }) => name)
    const goals = [atLeast(0.95, '×', `${many}: of the rate of ${few}`, ratioOf(samples, 'rate', many, few))]
    const notes = ['Where all 100,000 are in use they are more than memory keeps, and come from their files.']
    return [{ title: 'Stored blobs of 1 KiB, asked for at random', samples, goals, notes }]
  },
}

/** Resolves when the mirror has found everything that lies in its folder. */
async function rebuilt(server: MirrorServer, count: number): Promise<void> {
  const deadline = performance.now() + patience
  for (;;) {
    const stats = (await (await fetch(`${server.adminUrl}/api/stats`)).json()) as { storage: { blobs: number } }
    if (stats.storage.blobs > count) return
    if (performance.now() > deadline) throw new Error(`only ${stats.storage.blobs} of ${count} blobs were found`)
    await sleep(200)
  }
}

async function contender(
  world: World,
  server: MirrorServer,
  name: string,
  digests: readonly Digest[],
): Promise<Contender> {
  const script = `${world.folder('paths')}.lua`
  const paths = digests.map((digest) => new URL(server.blobUrl(digest)).pathname)
  await writeFile(`${script}.paths`, paths.join('\n'))
  await writeFile(script, randomPaths(`${script}.paths`))
  return hits({ name, server, url: server.url, seconds: world.isQuick ? 1 : 3, script })
}

function randomPaths(file: string): string {
  return `math.randomseed(7)
local paths = {}
for line in io.lines("${file}") do paths[#paths + 1] = line end
function request()
  return wrk.format("GET", paths[math.random(#paths)])
end
`
}
