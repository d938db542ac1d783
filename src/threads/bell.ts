import { writeSync } from 'node:fs'

const one = Buffer.alloc(8)
one[0] = 1

/** Wakes the thread that waits for this bell, a descriptor of eventfd(2). */
export function ring(bell: number): void {
  writeSync(bell, one)
}
