import { execFile } from 'node:child_process'
import { open, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tempDir } from '../../support/temp.ts'

const run = promisify(execFile)

/** A file system of its own, in memory, that can be full. */
export interface TinyDisk extends AsyncDisposable {
  readonly path: string
  /** Takes all space but so many bytes. */
  fill(left: number): Promise<void>
  /** Gives it back. */
  free(): Promise<void>
}

/** The reason, where this process may not mount. */
export async function mountTinyDisk(bytes: number): Promise<TinyDisk | string> {
  const dir = await tempDir()
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'entrepot-test', dir.path])
  } catch (error) {
    await dir[Symbol.asyncDispose]()
    return `cannot mount a tmpfs: ${(error as { stderr?: string }).stderr?.trim() || (error as Error).message}`
  }
  const ballast = join(dir.path, 'ballast')
  return {
    path: join(dir.path, 'data'),
    async fill(left) {
      const { bavail, bsize } = await statfs(dir.path)
      await using file = await open(ballast, 'a')
      const page = Buffer.alloc(bsize, 1)
      for (let pages = bavail - Math.ceil(left / bsize); pages > 0; pages -= 1) await file.write(page)
    },
    async free() {
      await using file = await open(ballast, 'w')
      await file.truncate(0)
    },
    async [Symbol.asyncDispose]() {
      await run('umount', ['--lazy', dir.path])
      await dir[Symbol.asyncDispose]()
    },
  }
}
