import { statfs } from 'node:fs/promises'

/** Bytes of the disk that a path lies on: all there are, and those that this process may still write. */
export async function diskOf(path: string): Promise<{ total: number; free: number }> {
  const { bsize, blocks, bavail } = await statfs(path)
  return { total: blocks * bsize, free: bavail * bsize }
}
