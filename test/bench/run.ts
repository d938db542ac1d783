import { help, parseOptions } from './options.ts'
import { writeResults } from './results.ts'
import type { Findings, Scenario } from './scenario.ts'
import { scenarios } from './scenarios/all.ts'
import { goalLine, tableOf } from './table.ts'
import { World } from './world.ts'

/** Measures Entrepôt beside docker-registry and nginx, in turn, over the same content. README.md tells what and why. */

const options = parseOptions(process.argv.slice(2))
if (options === 'help') {
  console.log(help)
  process.exit(0)
}
if (options === 'list') {
  for (const { name, quick } of scenarios) console.log(`${name}${quick ? '' : ' (not with --quick)'}`)
  process.exit(0)
}

const { quick, only, json } = options
const unknown = only?.find((name) => !scenarios.some((scenario) => scenario.name === name))
if (unknown !== undefined) {
  console.error(`no scenario is called ${unknown}; see --list`)
  process.exit(2)
}
const wanted = scenarios.filter(({ name, quick: inQuick }) => only?.includes(name) ?? (inQuick || !quick))

const startedAt = performance.now()
const world = await World.create(options)
let stopping = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    stopping = true
    void world[Symbol.asyncDispose]().finally(() => process.exit(130))
  })
}

const results: { name: string; findings: readonly Findings[] }[] = []
const skipped: { name: string; reason: string }[] = []
const failed: { name: string; reason: string }[] = []
try {
  for (const scenario of wanted) await attempt(scenario)
} finally {
  await world[Symbol.asyncDispose]()
}
await writeResults(json, { options, results, skipped, failed })
report()

async function attempt({ name, needs, run }: Scenario): Promise<void> {
  const lacking = await world.lacking(needs)
  if (lacking !== undefined) {
    skipped.push({ name, reason: lacking })
    return
  }
  try {
    const findings = await run(world)
    results.push({ name, findings })
    world.progress('')
    for (const finding of findings) console.log(tableOf(finding))
  } catch (error) {
    // What fails now fails because everything is being taken away.
    if (stopping) return new Promise(() => {})
    failed.push({ name, reason: error instanceof Error ? error.message : String(error) })
    world.progress('')
    console.error(`${name} failed:`, error)
  }
}

function report(): void {
  console.log('### Goals\n')
  for (const { findings } of results) {
    for (const { title, goals } of findings) {
      if (goals.length > 0) console.log([title, '', ...goals.map(goalLine), ''].join('\n'))
    }
  }
  for (const { name, reason } of skipped) console.log(`- skipped: ${name}: ${reason}`)
  for (const { name, reason } of failed) console.log(`- failed: ${name}: ${reason.split('\n')[0]}`)
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(0)} s; figures in ${json}`)
  process.exitCode = failed.length > 0 ? 1 : 0
}
