import { rm, statfs, writeFile } from 'node:fs/promises'

/** Bytes of the disk that a path lies on: all there are, and those that this process may still write. */
export async function diskOf(path: string): Promise<{ total: number; free: number }> {
  const { bsize, blocks, bavail } = await statfs(path)
  return { total: blocks * bsize, free: bavail * bsize }
}

/** Enough to tell a disk that has room again from one in which a few odd bytes are left. */
const sample = Buffer.alloc(1024 * 1024)

/** Writes something at a path, and takes it away again. Rejects with the system's error where that cannot be done. */
export async function tryDisk(path: string): Promise<void> {
  try {
    await writeFile(path, sample, { flush: true })
  } finally {
    await rm(path, { force: true }).catch(() => undefined)
  }
}
