import { setTimeout as sleep } from 'node:timers/promises'
import { machineBusySeconds } from './usage.ts'

/** Milliseconds of a look, and how many processors may be busy meanwhile. */
const look = 400
const little = 0.1

/** Waits for others on the machine to be done, for so many seconds in all. */
export class Quiet {
  #left: number

  constructor(seconds: number) {
    this.#left = seconds * 1000
  }

  async wait(onProgress: (text: string) => void): Promise<void> {
    while (this.#left > 0) {
      const before = await machineBusySeconds()
      await sleep(look)
      this.#left -= look
      const busy = (await machineBusySeconds()) - before
      if (busy / (look / 1000) <= little) return
      onProgress(`waiting for a quiet moment, ${(this.#left / 1000).toFixed(0)} s more at most`)
    }
  }
}
