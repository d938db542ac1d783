import { writeFile } from 'node:fs/promises'
import { wrk } from '../clients/wrk.ts'
import { measure } from '../meter.ts'
import { prime, primeBlob } from '../prime.ts'
import { type Contender, interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import type { Server } from '../servers/server.ts'
import { gigabyte, megabyte } from '../world.ts'

const span = 1024 * 1024

export const ranges: Scenario = {
  name: 'ranges',
  needs: ['nginx', 'docker-registry', 'wrk'],
  quick: false,
  async run(world) {
    const large = await world.large()
    const [mirror, registry, files] = await Promise.all([world.plain.mirror(), world.plain.registry(), world.files()])
    for (const cache of [mirror, registry]) await primeBlob(cache, large)
    await prime(files.blobUrl(large.digest), large)
    const script = `${world.folder('ranges')}.lua`
    await writeFile(script, randomRanges(large.size))
    const contenders = [mirror, registry, files].map((server) =>
      contender(server, server.blobUrl(large.digest), { seconds: 3, connections: 4, script }),
    )
    const rounds = world.rounds(5, 2)
    const samples = await interleave(contenders, { rounds, warmUp: 1, ...world.pace })
    const notes = ['wrk reads 8 KiB at a time, and so is itself what limits these.']
    return [
      {
        title: 'Ranges of 1 MiB at random offsets of a cached blob of 200 MB, 4 connections',
        samples,
        goals: [],
        notes,
      },
    ]
  },
}

function contender(
  server: Server,
  url: string,
  options: { seconds: number; connections: number; script: string },
): Contender {
  return {
    name: server.name,
    async measure() {
      const { load, cpu, peak, others } = await measure({ server: server.process }, () => wrk(url, options))
      const bytes = load.requests * span
      return {
        rate: load.perSecond,
        p50: load.p50,
        p99: load.p99,
        speed: (load.perSecond * span) / megabyte,
        cpuPerGb: cpu / (bytes / gigabyte),
        peak: peak / megabyte,
        others,
      }
    },
  }
}

/** A script for wrk: each request another range. */
export function randomRanges(size: number): string {
  return `math.randomseed(7)
function request()
  local start = math.random(0, ${size - span})
  wrk.headers["Range"] = "bytes=" .. start .. "-" .. (start + ${span - 1})
  return wrk.format()
end
`
}
