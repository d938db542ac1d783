import { join } from 'node:path'
import { parseArgs } from 'node:util'

export interface BenchOptions {
  /** Fewer rounds, fewer scenarios: under a minute. */
  readonly quick: boolean
  /** The names of the scenarios to run; all, unless given. */
  readonly only: readonly string[] | undefined
  /** Measured rounds; each scenario's own number, unless given. */
  readonly rounds: number | undefined
  /** How many seconds of the run may be spent on waiting for others on the machine to be quiet. */
  readonly patience: number
  /** Where the figures go. */
  readonly json: string
  /** Where the servers' data goes; the system's temporary folder, unless given. */
  readonly dir: string | undefined
  /** Where CPU profiles of the mirror go; none are made, unless given. */
  readonly profile: string | undefined
  /** Keep the servers' logs. */
  readonly keep: boolean
}

export const help = `npm run bench -- [options]

  --quick           under a minute: fewer rounds, fewer scenarios
  --only NAME,...   these scenarios
  --rounds N        so many measured rounds, instead of each scenario's own number
  --patience S      wait, up to S seconds in all, for quiet moments to measure in; 0
  --json FILE       where the figures go; test/bench/results/latest.json
  --dir DIR         where the servers keep their data (some 15 GB); the temporary folder
  --profile DIR     run the mirror with --cpu-prof and put the profiles there; the figures then count for less
  --keep            do not remove the data and logs
  --list            the scenarios
`

export function parseOptions(argv: readonly string[]): BenchOptions | 'help' | 'list' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      rounds: { type: 'string' },
      patience: { type: 'string', default: '0' },
      json: { type: 'string', default: join(import.meta.dirname, 'results', 'latest.json') },
      dir: { type: 'string' },
      profile: { type: 'string' },
      keep: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.list) return 'list'
  const { quick, json, dir, profile, keep } = values
  const only = values.only?.split(',').map((name) => name.trim())
  const patience = Number(values.patience)
  if (!(patience >= 0)) throw new Error(`--patience must be a number of seconds, not ${values.patience}`)
  return { quick, only, json, dir, profile, keep, patience, rounds: roundsOf(values.rounds) }
}

function roundsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const rounds = Number(text)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds must be a whole number, not ${text}`)
  return rounds
}
