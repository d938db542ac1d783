import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { workerData } from 'node:worker_threads'
import type { ClockedData } from './clocked.ts'

/** One of the threads, where time is what its starter says, and its writes are noted. */
const { file, clock, notes } = workerData as ClockedData

performance.now = () => Atomics.load(clock, 0)

const { writeSync } = fs
fs.writeSync = ((descriptor: number, bytes: Uint8Array, offset: number, length: number, position: number) => {
  const written = writeSync(descriptor, bytes, offset, length, position)
  const count = Atomics.load(notes, 0)
  notes.set([position, position + written], 1 + 2 * count)
  Atomics.store(notes, 0, count + 1)
  return written
}) as typeof writeSync
syncBuiltinESMExports()

await import(file)
