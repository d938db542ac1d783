import { parseArgs } from 'node:util'

export interface TortureOptions {
  /** Of attack, quiet points not counted. */
  readonly minutes: number
  readonly seed: number
  /** Metadata in a real Redis, which is attacked too. */
  readonly redis: boolean
  /** The upstream speaks TLS and nothing else. */
  readonly tls: boolean
  /** Bodies are read and written, as where the C library cannot be called. */
  readonly sendfile: boolean
  /** Bytes of a file system of its own for the data folder, which is filled and freed; none unless given. */
  readonly disk: number | undefined
  /** How many files and connections the mirror may have open; the system's limit unless given. */
  readonly descriptors: number | undefined
  /** Prints the schedule and ends. */
  readonly list: boolean
  /** The file that the mirror's whole log goes to. */
  readonly keep: string | undefined
}

export const help = `npm run torture -- [options]

  --minutes N       so many minutes of attack; 3
  --seed S          what the schedule of faults follows from, a whole number; 1
  --redis           metadata in Redis, which is stopped, killed and emptied too
  --tls             the upstream speaks TLS
  --no-sendfile     the mirror runs without calls into the C library
  --disk SIZE       the data folder on a file system of this size (such as 400MiB), which is filled and freed
  --descriptors N   the mirror may have so many files and connections open
  --list            print the schedule, and attack nothing
  --keep FILE       write the mirror's log to this file
`

/** What cannot be run as it was asked for; one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Throws UsageError. */
export function parseOptions(argv: readonly string[]): TortureOptions | 'help' {
  const { values } = parsed(argv)
  if (values.help) return 'help'
  const { redis, tls, list, keep } = values
  return {
    minutes: number('--minutes', values.minutes, { from: 0.1, to: 600, whole: false }),
    seed: number('--seed', values.seed, { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true }),
    redis,
    tls,
    sendfile: !values['no-sendfile'],
    disk: values.disk === undefined ? undefined : sizeOf(values.disk),
    descriptors:
      values.descriptors === undefined
        ? undefined
        : number('--descriptors', values.descriptors, { from: 128, to: 1_000_000, whole: true }),
    list,
    keep,
  }
}

/** The command that runs the same schedule again. */
export function commandOf(options: TortureOptions): string {
  const { minutes, seed, redis, tls, sendfile, disk, descriptors } = options
  const flags = [
    `--minutes ${minutes} --seed ${seed}`,
    ...(redis ? ['--redis'] : []),
    ...(tls ? ['--tls'] : []),
    ...(sendfile ? [] : ['--no-sendfile']),
    ...(disk === undefined ? [] : [`--disk ${disk}B`]),
    ...(descriptors === undefined ? [] : [`--descriptors ${descriptors}`]),
  ]
  return `npm run torture -- ${flags.join(' ')}`
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        minutes: { type: 'string', default: '3' },
        seed: { type: 'string', default: '1' },
        redis: { type: 'boolean', default: false },
        tls: { type: 'boolean', default: false },
        'no-sendfile': { type: 'boolean', default: false },
        disk: { type: 'string' },
        descriptors: { type: 'string' },
        list: { type: 'boolean', default: false },
        keep: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error })
  }
}

function number(flag: string, text: string, { from, to, whole }: { from: number; to: number; whole: boolean }): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (value >= from && value <= to && (!whole || Number.isInteger(value))) return value
  throw new UsageError(
    `${flag} must be a ${whole ? 'whole ' : ''}number from ${from} to ${to}, not ${JSON.stringify(text)}`,
  )
}

const units: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}
const leastDisk = 128 * 2 ** 20

function sizeOf(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+)([A-Za-z]+)$/.exec(text) ?? []
  const bytes = Number(digits) * (units[unit] ?? Number.NaN)
  if (bytes >= leastDisk && bytes <= 64 * 2 ** 30) return bytes
  throw new UsageError(`--disk must be a size from 128MiB to 64GiB, such as 400MiB, not ${JSON.stringify(text)}`)
}
