import { setTimeout as sleep } from 'node:timers/promises'
import type { Fetches } from '../../support/fetches.ts'
import { randomBlob } from '../../support/image.ts'
import { until } from '../../support/wait.ts'
import { House, type HouseSettings, repository } from './house.ts'

const size = 5_000_000

/** A house whose threads run: before they do, the event loop fetches. Nothing of it is counted. */
export async function openWarm(fetches: Fetches, settings?: HouseSettings): Promise<House> {
  const house = await House.open(settings)
  try {
    let seed = 1_000_000
    fetches.reset()
    await until(async () => {
      seed += 1
      await house.get(house.upstream.addBlob(repository, randomBlob(size, seed)))
      // Threads take a while to start, and each of these takes room.
      if (fetches.bytes === 0) await sleep(50)
      return fetches.bytes > 0
    }, 'a thread that fetches')
    await house.settled()
    house.upstream.reset()
    fetches.reset()
    return house
  } catch (error) {
    await house[Symbol.asyncDispose]()
    throw error
  }
}
