import { type FileHandle, open } from 'node:fs/promises'
import { after } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { HashPool } from '../../src/storage/spool/hash-pool.ts'
import { until } from './wait.ts'

/** Threads keep no process alive, not even one whose tests wait for them. */
export function stayAlive(): void {
  const timer = setInterval(() => undefined, 1000)
  after(() => clearInterval(timer))
}

export interface Started extends Disposable {
  /** In order of their start. */
  readonly threads: readonly Worker[]
}

/** The threads that this process starts from here on. */
export function started(): Started {
  const threads: Worker[] = []
  const add = (thread: Worker): void => void threads.push(thread)
  process.on('worker', add)
  return { threads, [Symbol.dispose]: () => process.off('worker', add) }
}

/** Waits until a thread runs. */
export async function warm(hashing: HashPool): Promise<void> {
  // A number that no file has.
  const job = await until(() => hashing.open(1_000_000, 'sha256'), 'a thread that hashes')
  await job.close()
}

/** A new file whose descriptor has this number, as that of another file had before. */
export function openAs(number: number, path: string, flags = 'w+'): Promise<FileHandle> {
  // A thread that starts opens files, too.
  return until(async () => {
    const handle = await open(path, flags)
    if (handle.fd === number) return handle
    await handle.close()
    return undefined
  }, `descriptor ${number}`)
}
