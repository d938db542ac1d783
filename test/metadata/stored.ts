import { join } from 'node:path'
import type { MetadataStore } from '../../src/metadata/metadata-store.ts'
import { SqliteStore } from '../../src/metadata/sqlite/sqlite-store.ts'
import { tempDir } from '../support/temp.ts'

/** A SQLite store in a folder of its own, which goes with it. */
export async function temporaryStore(): Promise<SqliteStore> {
  const dir = await tempDir()
  return closing(
    SqliteStore.open(join(dir.path, 'metadata.sqlite'), { pins: { path: join(dir.path, 'pins.json') } }),
    async () => {
      await dir[Symbol.asyncDispose]()
    },
  )
}

/** The store, whose disposal does something more afterwards. */
export function closing<Store extends MetadataStore>(store: Store, then: () => Promise<void>): Store {
  const close = store[Symbol.asyncDispose].bind(store)
  return Object.assign(store, {
    [Symbol.asyncDispose]: async () => {
      await close()
      await then()
    },
  })
}
