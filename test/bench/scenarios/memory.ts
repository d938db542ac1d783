import { setTimeout as sleep } from 'node:timers/promises'
import { SlowClients } from '../clients/slow.ts'
import { atMost } from '../goal.ts'
import { measure } from '../meter.ts'
import { stored } from '../prime.ts'
import { interleave } from '../rounds.ts'
import type { Scenario } from '../scenario.ts'
import { medianOf } from '../stats.ts'
import { memoryOf } from '../usage.ts'
import { megabyte } from '../world.ts'

const clients = 200
/** Milliseconds that the clients go on reading when the fill is done, then from the file alone. */
const afterwards = 3000

/** What many clients cost that are all slower than the fill: they fall behind, and read from the file. */
export const memory: Scenario = {
  name: 'memory',
  needs: [],
  quick: false,
  async run(world) {
    const size = (world.isQuick ? 250 : 1000) * megabyte
    const upstream = await world.startThrottled(120 * megabyte)
    const name = `Entrepôt, ${clients} slow clients`
    const slow = {
      name,
      async measure() {
        const blob = await world.content.addNoise(size)
        await using mirror = await world.startMirror({ upstream: upstream.url })
        const idle = await memoryOf([mirror.process.pid])
        await using crowd = new SlowClients(mirror.blobUrl(blob.digest), {
          clients,
          from: 0.05 * megabyte,
          to: 2 * megabyte,
        })
        const { peak, load } = await measure({ server: mirror.process, beside: [upstream.process] }, async () => {
          const startedAt = performance.now()
          await stored(mirror, blob)
          await sleep(afterwards)
          const received = await crowd.leave()
          return { seconds: (performance.now() - startedAt) / 1000, bytes: 0, cpu: 0, received }
        })
        if (Math.min(...load.received) === 0) throw new Error('some of the clients have got nothing')
        const asked = await upstream.asked(blob.digest)
        return { resident: idle.now / megabyte, peak: peak / megabyte, upstream: asked.bytes / size }
      },
    }
    const rounds = world.rounds(2, 1)
    const samples = await interleave([slow], { rounds, warmUp: 0, ...world.pace })
    const title = `Memory: ${clients} slow clients on one fill of ${size / 1e9} GB`
    const goals = [atMost(200, 'MB', 'peak resident size', medianOf(samples, name, 'peak'))]
    const notes = ['"resident" is the size right after the start, before any request.']
    return [{ title, samples, goals, notes }]
  },
}
