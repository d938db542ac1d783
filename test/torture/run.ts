import { Attack } from './attack.ts'
import { Crowd } from './crowd.ts'
import { InUse } from './in-use.ts'
import { commandOf, help, parseOptions, type TortureOptions, UsageError } from './options.ts'
import { Pinned } from './pinned.ts'
import { lineOf, type PlannedEvent, planOf } from './plan.ts'
import { baselineOf, settle } from './settle.ts'
import { World } from './world.ts'

/** Attacks the mirror for some minutes, and says what it did that it must not do. README.md tells what and how. */

/** Whatever hangs, the run ends: so many milliseconds after the attack would have. */
const mostQuiet = 15 * 60_000
/** Quiet points: after each of so many equal parts of the attack, everything has to be well again by itself. */
const parts = 2

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') {
    console.log(help)
    return 0
  }
  const plan = planOf(options)
  if (options.list) {
    for (const event of plan) console.log(lineOf(event))
    return 0
  }
  const brokenOff = breakOff(options.minutes * 60_000 + mostQuiet)
  await using world = await World.make(options)
  try {
    return await Promise.race([torture(world, plan, options), brokenOff])
  } catch (error) {
    console.log(world.findings.report(10))
    throw error
  }
}

/** The run was told to end, or did not end by itself. */
class BrokenOff extends Error {
  override readonly name = 'BrokenOff'
  readonly status: number

  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}

/** Rejects on a signal, on an error that nobody caught, and after so many milliseconds. A second signal ends at once. */
function breakOff(after: number): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
    process.once(signal, () => reject(new BrokenOff(`ended by ${signal}`, 128 + number)))
  }
  process.once('uncaughtException', reject)
  setTimeout(() => reject(new BrokenOff('the run did not end by itself', 1)), after).unref()
  promise.catch(() => undefined)
  return promise
}

async function torture(world: World, plan: readonly PlannedEvent[], options: TortureOptions): Promise<number> {
  const { mirror, findings, history } = world
  for (const reason of world.skipped) console.log(`skipped: ${reason}`)
  const attack = new Attack(world)
  const crowd = new Crowd(world)
  const pinned = new Pinned(world, crowd)
  const inUse = new InUse(world)
  mirror.onDeath = (how) => attack.died(how)
  await mirror.start()
  const baseline = await baselineOf(world)
  const length = (options.minutes * 60_000) / parts
  for (let part = 0; part < parts; part += 1) {
    await pinned.start()
    crowd.start()
    inUse.start()
    await attack.run(plan, part * length, (part + 1) * length)
    history.record('the attack ends')
    await attack.end()
    await Promise.all([crowd.stop(), pinned.stop()])
    await inUse.stop()
    await settle(world, crowd, baseline)
    console.log(
      `part ${part + 1} of ${parts}: ${crowd.tally.requests} requests, ${findings.unexplained.length} violations`,
    )
  }
  const { requests, complete, bytes, statuses, outcomes } = crowd.tally
  console.log(
    `${requests} requests, ${complete} complete bodies, ${(bytes / 1e9).toFixed(1)} GB compared, ${plan.length} deeds`,
  )
  console.log(`statuses: ${counts(statuses)}`)
  console.log(`outcomes: ${counts(outcomes)}`)
  const report = findings.report(10)
  if (report !== '') console.log(report)
  const { unexplained } = findings
  if (unexplained.length === 0) {
    console.log('no violation')
    return 0
  }
  console.log(`\nthe last requests:\n${crowd.recent.slice(-15).join('\n')}`)
  console.log(`\nthe schedule:\n${plan.map(lineOf).join('\n')}`)
  console.log(`\nagain: ${commandOf(options)}`)
  return 1
}

function counts(of: Readonly<Record<string, number>>): string {
  return Object.entries(of)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')
}

try {
  process.exit(await main())
} catch (error) {
  const isUsage = error instanceof UsageError
  if (!isUsage && !(error instanceof BrokenOff)) throw error
  console.error(`torture: ${error.message}`)
  // The attack may still be under way.
  process.exit(isUsage ? 2 : error.status)
}
