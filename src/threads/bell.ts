import { writeSync } from 'node:fs'

const one = Buffer.alloc(8)
one[0] = 1

/** Ends the waiting of the thread whose bell that is, a descriptor of eventfd(2). */
export function ring(bell: number): void {
  writeSync(bell, one)
}
