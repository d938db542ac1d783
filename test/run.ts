import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

/**
 * `node test/run.ts` runs every test but those that drive real programs (e2e), the known faults and the benchmarks;
 * `node test/run.ts e2e`, or any other beginning of a path under test/, runs those files.
 *
 * Where the environment says CI, nothing may be skipped: a skip is listed with its reason, and fails the run.
 */

const folder = import.meta.dirname
const strict = !['', 'false', undefined].includes(process.env['CI'])
/** Not for those who only say `npm test`: they take long, or need programs that may be absent. */
const apart = ['e2e/', 'bench/', 'torture/known']

function isWanted(file: string): boolean {
  const patterns = process.argv.slice(2).map((pattern) => pattern.replace(/^(?:\.\/)?test\//, ''))
  if (patterns.length === 0) return !apart.some((path) => file.startsWith(path))
  return patterns.some((pattern) => file.startsWith(pattern))
}

const files = globSync('**/*.test.ts', { cwd: folder }).filter(isWanted).sort()
if (files.length === 0) {
  console.error(`no test file begins with ${process.argv.slice(2).join(' or ')}`)
  process.exit(1)
}

const endToEnd = files.some((file) => file.startsWith('e2e/'))
/** Of a file that takes seconds on a quiet machine: so that only a hang, and no busy machine, ends it. */
const seconds = 600
const watchdog = new URL(`watchdog.ts?seconds=${seconds}`, import.meta.url)
const tests = run({
  files: files.map((file) => `${folder}/${file}`),
  // Real programs want the machine for themselves; the rest is quick, and mostly waits.
  concurrency: endToEnd ? 1 : Math.max(2, availableParallelism()),
  execArgv: ['--import', watchdog.href],
})

const skips: string[] = []
let [passed, failed] = [0, 1]

tests.on('test:pass', ({ name, file, skip }) => {
  if (skip === undefined) return
  skips.push(`${relative(folder, file ?? '')}: ${name}: ${skip === true ? 'no reason given' : skip}`)
})
tests.on('test:summary', ({ file, counts }) => {
  // Without a file, it is the summary of all. Neither passed nor excused: failed or cancelled.
  if (file !== undefined) return
  passed = counts.passed
  failed = counts.tests - counts.passed - counts.skipped - counts.todo
})

for await (const text of tests.compose(new spec())) process.stdout.write(text)

if (strict) {
  for (const skip of skips) console.log(`skipped, which fails here: ${skip}`)
  console.log(`${passed} passed, ${failed + skips.length} failed`)
}
process.exitCode = failed > 0 || (strict && skips.length > 0) ? 1 : 0
