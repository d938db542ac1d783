/** A program for tests to kill or to starve: records uses in batches of 100 until it fails, and tells of each batch. */
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const store = SqliteStore.open(process.argv[2] ?? ':memory:')
let told = 0
try {
  for (;;) {
    const uses = Array.from({ length: 100 }, (_, n) => ({
      digest: digestOf(Buffer.from(`${told + n}`)),
      size: 3,
      at: told + n,
    }))
    await store.recordUses(uses)
    told += uses.length
    process.stdout.write(`${told}\n`)
  }
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: String(error), told, usage: await store.usage() })}\n`)
}
