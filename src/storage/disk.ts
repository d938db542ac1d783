import { rm, statfs, writeFile } from 'node:fs/promises'

/** The size of the disk that a path is on, and what this process may still write there, in bytes. */
export async function diskOf(path: string): Promise<{ total: number; free: number }> {
  const { bsize, blocks, bavail } = await statfs(path)
  return { total: blocks * bsize, free: bavail * bsize }
}

/** Large enough that a disk with only a few free bytes still fails. */
const sample = Buffer.alloc(1024 * 1024)

/** Writes a file at a path and removes it. Rejects with the system's error where it cannot be written. */
export async function tryDisk(path: string): Promise<void> {
  try {
    await writeFile(path, sample, { flush: true })
  } finally {
    await rm(path, { force: true }).catch(() => undefined)
  }
}
