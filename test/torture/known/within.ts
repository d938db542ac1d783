import { setTimeout as sleep } from 'node:timers/promises'

/** Whether it comes true in so many milliseconds: for what must come soon, and today does not come at all. */
export async function within(milliseconds: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const end = performance.now() + milliseconds
  for (;;) {
    if (await condition()) return true
    if (performance.now() > end) return false
    await sleep(50)
  }
}
