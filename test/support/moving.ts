import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SendfilePool } from '../../src/storage/sendfile/sendfile-pool.ts'
import { socketPair } from './socket-pair.ts'
import { tempDir } from './temp.ts'
import { until } from './wait.ts'

const enough = 512 * 1024

/** Waits until a thread moves bytes: what is asked for before it runs is left to be read. */
export async function untilMoving(sending: SendfilePool | undefined): Promise<void> {
  if (!sending) return
  await using dir = await tempDir()
  const path = join(dir.path, 'file')
  await writeFile(path, Buffer.alloc(enough))
  await using file = await open(path)
  await using pair = await socketPair()
  void pair.theirs.receive(Number.POSITIVE_INFINITY)
  const span = { position: 0, length: enough }
  await until(async () => (await sending.move(file.fd, pair.ours.fd, span).moved).bytes > 0, 'a thread to move bytes')
}

/** Counts, in bytes, what is moved from now on. */
export function countMoved(sending: SendfilePool | undefined): { readonly bytes: number } {
  const count = { bytes: 0 }
  if (!sending) return count
  const move = sending.move.bind(sending)
  sending.move = (...given) => {
    const sent = move(...given)
    const moved = sent.moved.then((result) => {
      count.bytes += result.bytes
      return result
    })
    return { ...sent, moved }
  }
  return count
}
