import { type FileHandle, open } from 'node:fs/promises'
import { after } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { Ring } from '../../src/storage/spool/ring.ts'
import type { Writing } from '../../src/storage/spool/writing.ts'
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

/** Waits until a thread runs, and has nothing to do. */
export async function warm(writing: Writing): Promise<void> {
  // A number that no file has.
  const file = await until(() => writing.open(1_000_000, 'sha256', 0), 'a thread that writes')
  await file.close()
}

export interface Blocker extends AsyncDisposable {
  /** Resolves when the thread has got through. */
  readonly over: Promise<unknown>
}

/** Gives the idlest thread something to read back that takes a while, whatever else it has to do. */
export async function block(writing: Writing, path: string): Promise<Blocker> {
  const handle = await open(path, 'wx+')
  // Takes no room.
  await handle.truncate(256 * 1024 * 1024)
  const file = writing.open(handle.fd, 'sha256', 256 * 1024 * 1024)
  if (!file) throw new Error('no thread to block')
  return {
    over: file.digest().catch(() => undefined),
    async [Symbol.asyncDispose]() {
      await file.close()
      await handle.close()
    },
  }
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

/** Passes bytes on as a connection does that receives them where they belong. */
export async function receiveAll(memory: Ring, bytes: Buffer, put: (bytes: Buffer) => unknown): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const room = memory.room()
    if (!room || !memory.hasRoom) throw new Error('no room')
    const length = bytes.copy(room, 0, at)
    await put(memory.keep(room.subarray(0, length)))
    at += length
  }
}
