/**
 * A program that tests kill or run out of disk space: moves the rows of an old database, step by step, and prints how
 * many steps it has made. When it cannot go on, it prints why, and what it still reads.
 */
import { SqliteConnection } from '../../../src/metadata/sqlite/sqlite-connection.ts'

const connection = new SqliteConnection(process.argv[2] ?? ':memory:')
const { records } = connection
let steps = 0
try {
  while (connection.moveOldRows(20)) {
    steps += 1
    process.stdout.write(`${steps}\n`)
  }
  process.stdout.write(`${JSON.stringify({ error: '', steps })}\n`)
} catch (error) {
  const accesses = records.leastRecentlyUsed(undefined, 1_000_000).length
  const holdings = records.holdings({ prefix: '', after: undefined, limit: 1_000_000 }).length
  process.stdout.write(`${JSON.stringify({ error: String(error), steps, accesses, holdings })}\n`)
}
