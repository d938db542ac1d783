/** A program that tests kill or run out of disk space: records accesses by the 100, and prints how many, until it fails. */
import { SqliteStore } from '../../../src/metadata/sqlite/sqlite-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const store = SqliteStore.open(process.argv[2] ?? ':memory:')
let written = 0
try {
  for (;;) {
    const accesses = Array.from({ length: 100 }, (_, n) => ({
      digest: digestOf(Buffer.from(`${written + n}`)),
      size: 3,
      at: written + n,
    }))
    await store.index.recordAccesses(accesses)
    written += accesses.length
    process.stdout.write(`${written}\n`)
  }
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: String(error), written, usage: await store.index.usage() })}\n`)
}
