import { fstatSync } from 'node:fs'
import { open, opendir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { algorithms, type Digest, parseDigest } from '../oci/digest.ts'
import type { ByteRange } from '../oci/range.ts'
import type { BlobInfo, BlobStore, ManifestNote, OpenBlob, StoredBlob, VerifiedFile } from './blob-store.ts'
import type { BodyReader } from './body-reader.ts'
import { SharedFile } from './file.ts'
import type { IoThreads } from './io-threads.ts'
import { pathOf } from './layout.ts'
import { mergeNotes, parseNote } from './note.ts'
import { type Followed, Follower } from './spool/follower.ts'

/** Blobs as files of a data folder (`layout.ts` draws it). */
export class FileStore implements BlobStore {
  readonly #root: string
  readonly #ioThreads: IoThreads | undefined

  constructor(root: string, ioThreads?: IoThreads) {
    this.#root = root
    this.#ioThreads = ioThreads
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    const found = await absent(stat(this.#blob(digest)))
    return found && { digest, size: found.size }
  }

  async open(digest: Digest): Promise<OpenBlob | undefined> {
    const file = await absent(SharedFile.open(this.#blob(digest), 'r', this.#ioThreads))
    if (!file) return undefined
    return new OpenFile(file)
  }

  tryCached(digest: Digest): OpenBlob | undefined {
    const file = SharedFile.tryCached(this.#blob(digest), this.#ioThreads)
    return file && file !== 'absent' ? new OpenFile(file) : undefined
  }

  async adopt(digest: Digest, file: VerifiedFile, note?: ManifestNote): Promise<BlobInfo> {
    if (note) await this.#note(digest, note)
    const path = this.#blob(digest)
    const size = file.written
    await file.moveTo(path)
    await syncFolder(dirname(path))
    return { digest, size }
  }

  async delete(digest: Digest): Promise<void> {
    await rm(this.#blob(digest), { force: true })
    await rm(this.#notePath(digest), { force: true })
  }

  async *list(): AsyncIterable<StoredBlob> {
    for (const algorithm of algorithms) {
      const folder = await absent(opendir(pathOf(this.#root, { kind: 'algorithm', algorithm })))
      if (!folder) continue
      for await (const entry of folder) {
        const digest = parseDigest(`${algorithm}:${entry.name}`)
        const info = digest && (await this.stat(digest))
        if (info) yield { ...info, note: await this.#readNote(info.digest) }
      }
    }
  }

  #blob(digest: Digest): string {
    return pathOf(this.#root, { kind: 'blob', digest })
  }

  #notePath(digest: Digest): string {
    return pathOf(this.#root, { kind: 'note', digest })
  }

  /** Written before the blob appears, and by rename, so that a manifest never stands without a whole note. */
  async #note(digest: Digest, note: ManifestNote): Promise<void> {
    const merged = mergeNotes(await this.#readNote(digest), note)
    const temporary = pathOf(this.#root, { kind: 'spool' })
    try {
      await writeFile(temporary, JSON.stringify(merged), { flush: true, mode: 0o600 })
      await rename(temporary, this.#notePath(digest))
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined)
      throw error
    }
  }

  async #readNote(digest: Digest): Promise<ManifestNote | undefined> {
    const text = await absent(readFile(this.#notePath(digest)))
    return text && parseNote(text)
  }
}

/** What is stored does not grow: all that is asked for is there. */
const whole: Followed = { isWhole: true, at: async (offset, end = offset) => Math.max(0, end + 1 - offset) }

class OpenFile implements OpenBlob {
  readonly #file: SharedFile
  readonly size: number

  constructor(file: SharedFile) {
    this.#file = file
    // Synchronous on purpose: on an open descriptor it never waits for the disk, and a thread-pool trip costs more.
    this.size = fstatSync(file.fd).size
  }

  reader(range: ByteRange): BodyReader {
    return new Follower(whole, this.#file, range)
  }

  close(): Promise<void> {
    return this.#file.release()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Turns "there is no such file" into undefined and leaves every other failure a failure. */
async function absent<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
