import { setTimeout as sleep } from 'node:timers/promises'
import { randomBlob } from '../../support/image.ts'
import type { Receptions } from '../../support/receptions.ts'
import { until } from '../../support/wait.ts'
import { House, type HouseSettings, repository } from './house.ts'

const size = 5_000_000

/** A house whose threads write and receive: before they run, what comes goes another way. Nothing of it is counted. */
export async function openWarm(receptions: Receptions, settings?: HouseSettings): Promise<House> {
  const house = await House.open(settings)
  try {
    let seed = 1_000_000
    receptions.reset()
    await until(async () => {
      seed += 1
      await house.get(house.upstream.addBlob(repository, randomBlob(size, seed)))
      // Threads take a while to start, and each of these takes room.
      if (receptions.bytes === 0) await sleep(50)
      return receptions.bytes > 0
    }, 'a thread that receives')
    await house.settled()
    house.upstream.reset()
    receptions.reset()
    return house
  } catch (error) {
    await house[Symbol.asyncDispose]()
    throw error
  }
}
