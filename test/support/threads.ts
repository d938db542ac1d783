import { after } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { Writing } from '../../src/storage/writing.ts'
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
export async function warm(writing: Writing): Promise<void> {
  // A number that no file has.
  const file = await until(() => writing.open(1_000_000, 'sha256', 0), 'a thread that writes')
  file.close()
}

/** In memory that threads can see, between other bytes. */
export function sharedCopy(bytes: Buffer): Buffer {
  const copy = Buffer.from(new SharedArrayBuffer(bytes.length + 20), 7, bytes.length)
  bytes.copy(copy)
  return copy
}
