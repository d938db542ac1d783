import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { algorithms } from '../oci/digest.ts'
import { pathOf } from './layout.ts'

const layoutVersion = '1'

/** The folder cannot be used. The message is one line that names the folder and the reason. */
export class DataFolderError extends Error {
  override readonly name = 'DataFolderError'
}

/**
 * The ownership of a data folder. To open it: make it if it is absent, lock it, check its version, and empty its
 * ingest.
 *
 * The lock is SQLite's reserved lock on the file `lock`. The kernel releases it when the process dies, so nobody ever
 * has to remove a stale lock. Node itself has no call that locks a file.
 */
export class DataFolder implements Disposable {
  readonly root: string
  readonly #lock: DatabaseSync

  /** Throws DataFolderError. */
  static async open(root: string): Promise<DataFolder> {
    try {
      await mkdir(dirname(root), { recursive: true })
      // What it holds may be private. A folder that is there keeps its mode.
      await mkdir(root, { recursive: true, mode: 0o700 })
      await mkdir(pathOf(root, { kind: 'ingest' }), { recursive: true })
      for (const algorithm of algorithms) {
        await mkdir(pathOf(root, { kind: 'algorithm', algorithm }), { recursive: true })
      }
      const folder = new DataFolder(root, acquire(root))
      try {
        await checkVersion(root)
        await emptyIngest(root)
      } catch (error) {
        folder[Symbol.dispose]()
        throw error
      }
      return folder
    } catch (cause) {
      if (cause instanceof DataFolderError) throw cause
      throw new DataFolderError(`data folder ${root} cannot be used: ${(cause as Error).message}`, { cause })
    }
  }

  private constructor(root: string, lock: DatabaseSync) {
    this.root = root
    this.#lock = lock
  }

  [Symbol.dispose](): void {
    if (this.#lock.isOpen) this.#lock.close()
  }
}

function acquire(root: string): DatabaseSync {
  const lock = new DatabaseSync(pathOf(root, { kind: 'lock' }), { timeout: 0 })
  try {
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE')
    return lock
  } catch (cause) {
    lock.close()
    // SQLITE_BUSY is 5. Any other error comes from the disk.
    if ((cause as { errcode?: number }).errcode !== 5) throw cause
    throw new DataFolderError(`data folder ${root} is in use by another entrepot process`, { cause })
  }
}

async function checkVersion(root: string): Promise<void> {
  const path = pathOf(root, { kind: 'version' })
  const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined || found.trim() === '') await writeFile(path, `${layoutVersion}\n`)
  else if (found.trim() !== layoutVersion) {
    throw new DataFolderError(
      `data folder ${root} has layout version ${found.trim()}; this is version ${layoutVersion}`,
    )
  }
}

async function emptyIngest(root: string): Promise<void> {
  for (const name of await readdir(pathOf(root, { kind: 'ingest' }))) {
    await rm(pathOf(root, { kind: 'leftover', name }), { recursive: true, force: true })
  }
}
