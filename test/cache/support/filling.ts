import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { FillDependencies } from '../../../src/cache/fill/fill.ts'
import { Fills, type Located } from '../../../src/cache/fill/fills.ts'
import type { FillReport, Observer } from '../../../src/cache/observer.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import type { BodyReader } from '../../../src/storage/body-reader.ts'
import { DataFolder } from '../../../src/storage/data-folder.ts'
import { FileStore } from '../../../src/storage/file-store.ts'
import type { IoThreads } from '../../../src/storage/io-threads.ts'
import { pathOf } from '../../../src/storage/layout.ts'
import { Spool } from '../../../src/storage/spool/spool.ts'
import { openFiles } from '../../support/open-files.ts'
import { tempDir } from '../../support/temp.ts'
import { FakeRegistry, type Step } from './registry.ts'

export interface FillingOptions extends Partial<FillDependencies> {
  readonly unfollowed?: number
  readonly ioThreads?: IoThreads | undefined
}

/** An observer that is deaf to everything else. */
function hearing(heard: Partial<Observer>): Observer {
  return new Proxy(heard as Observer, { get: (target, name) => Reflect.get(target, name) ?? (() => {}) })
}

/** Fills of one blob, whose bytes come by `steps`, into a folder. */
export async function openFills(digest: Digest, size: number, steps: readonly Step[], options: FillingOptions = {}) {
  const dir = await tempDir()
  const folder = await DataFolder.open(dir.path)
  const registry = new FakeRegistry(steps, size)
  const { unfollowed = 8, ioThreads, ...given } = options
  const ended: FillReport[] = []
  const storeFailures: unknown[] = []
  const store = new FileStore(dir.path, ioThreads)
  const fills = new Fills({
    unfollowed,
    dependencies: {
      store,
      createSpool: () => Spool.create(pathOf(dir.path, { kind: 'spool' })),
      observer: hearing({
        fillEnded: (report) => ended.push(report),
        storeFailed: (_store, error) => storeFailures.push(error),
      }),
      now: Date.now,
      answerTimeout: 10_000,
      sizeOf: async () => undefined,
      proven: () => {},
      adopt: async (adopted, spool) => void (await (given.store ?? store).adopt(adopted, spool)),
      ...given,
    },
  })
  const locate = (wanted: Digest = digest): Promise<Located> =>
    fills.locate(wanted, { origin: registry.origin, size: undefined, proven: true })
  return {
    fills,
    registry,
    store,
    ended,
    storeFailures,
    locate,
    /** Where the blob is, once it is stored. */
    file: pathOf(dir.path, { kind: 'blob', digest }),
    openFiles: () => openFiles(join(dir.path, 'blobs')),
    ingest: () => readdir(pathOf(dir.path, { kind: 'ingest' })),
    async [Symbol.asyncDispose]() {
      await fills[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

export function filling(located: Located): Extract<Located, { kind: 'fill' }> {
  assert.ok(located.kind === 'fill')
  return located
}

export async function drain(reader: BodyReader | undefined): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for (let chunk = await reader?.read(); chunk; chunk = await reader?.read()) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } finally {
    await reader?.close()
  }
}
