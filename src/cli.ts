import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import {
  type Command,
  configOption,
  type ExitStatus,
  type Invocation,
  type Options,
  text,
  UsageError,
} from './commands/command.ts'
import { evictCommand } from './commands/evict.ts'
import { commandHelp, generalHelp } from './commands/help.ts'
import { imagesCommand } from './commands/images.ts'
import { pinCommand, unpinCommand } from './commands/pin.ts'
import { purgeCommand } from './commands/purge.ts'
import { scrubCommand } from './commands/scrub.ts'
import { statsCommand } from './commands/stats.ts'
import type { Config } from './config/config.ts'
import { redactedConfig } from './config/effective.ts'
import { loadConfig } from './config/load.ts'
import { ConfigError } from './config/problem.ts'

const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['serve', { summary: 'Run the mirror', options: configOption, run: runServer }],
  ['check-config', { summary: 'Print the effective configuration', options: configOption, run: checkConfig }],
  ['version', { summary: 'Print the version', options: {}, run: printVersion }],
  ['stats', statsCommand],
  ['images', imagesCommand],
  ['purge', purgeCommand],
  ['pin', pinCommand],
  ['unpin', unpinCommand],
  ['evict', evictCommand],
  ['scrub', scrubCommand],
])

/** Runs one command and ends the process with its status: 0, 1 where it failed, 2 where it was not understood. */
export async function main(argv: readonly string[]): Promise<never> {
  // Whoever read the output may leave (`| head`, a log collector that restarts): no reason to fall over.
  process.stdout.on('error', () => {})
  process.exit(await run(argv).catch(report))
}

async function run([name, ...rest]: readonly string[]): Promise<ExitStatus> {
  if (name === undefined) {
    process.stderr.write(generalHelp(commands))
    return 2
  }
  if (['--help', '-h', 'help'].includes(name)) return print(generalHelp(commands))
  if (name === '--version') return printVersion()
  const command = commands.get(name)
  if (!command) {
    throw new UsageError(`unknown ${name.startsWith('-') ? 'option' : 'command'} "${name}"; see entrepot --help`)
  }
  const { flags, args } = parse(name, command, rest)
  if (flags['help']) return print(commandHelp(name, command))
  if (command.args && args.length < command.args.least) {
    throw new UsageError(`${name} wants ${command.args.shown}; see entrepot ${name} --help`)
  }
  return command.run({ flags, args, environment: process.env, terminal })
}

function parse(name: string, command: Command, args: string[]): Pick<Invocation, 'flags' | 'args'> {
  try {
    const options = parserOptions(command.options)
    const { values, positionals } = parseArgs({ args, options, allowPositionals: command.args !== undefined })
    return { flags: values, args: positionals }
  } catch (error) {
    // The first sentence says what is wrong; the others give advice for commands that take file names.
    const [sentence = ''] = messageOf(error).split(/\. |\n/)
    throw new UsageError(`${sentence.replace(/\.$/, '')}; see entrepot ${name} --help`, { cause: error })
  }
}

function parserOptions(options: Options) {
  const own = Object.entries(options).map(([key, { type }]) => [key, { type }] as const)
  return { ...Object.fromEntries(own), help: { type: 'boolean', short: 'h' } } as const
}

const terminal: Invocation['terminal'] = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  live: process.stdout.isTTY === true,
}

async function runServer(invocation: Invocation): Promise<ExitStatus> {
  const config = await configOf(invocation)
  const { serve } = await import('./serve.ts')
  const signal = firstSignal()
  const server = await serve(config, {
    out: process.stdout,
    tty: process.stdout.isTTY === true,
    version: await version(),
  })
  await server.stop(await signal)
  return 0
}

async function checkConfig(invocation: Invocation): Promise<ExitStatus> {
  return print(redactedConfig(await configOf(invocation)))
}

async function printVersion(): Promise<ExitStatus> {
  return print(`entrepot ${await version()}\n`)
}

/** Within this time a second signal is an echo of the first: a terminal and npm both pass Ctrl-C on. */
const echo = 500

/** The first request to stop; whoever asks again does not want to wait. */
function firstSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let impatient = false
  const hear = (name: NodeJS.Signals) => {
    if (impatient) process.exit(1)
    setTimeout(() => {
      impatient = true
    }, echo).unref()
    resolve(name)
  }
  process.on('SIGTERM', hear).on('SIGINT', hear)
  return promise
}

function configOf({ flags, environment }: Invocation): Promise<Config> {
  return loadConfig(text(flags, 'config') ?? (environment['ENTREPOT_CONFIG'] || undefined), environment)
}

async function version(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function print(text: string): ExitStatus {
  process.stdout.write(text)
  return 0
}

/** One line, or a line for every problem of a configuration. */
function report(error: unknown): ExitStatus {
  const lines = error instanceof ConfigError ? error.problems : [`entrepot: ${messageOf(error)}`]
  process.stderr.write(`${lines.map((line) => line.replaceAll(/\s*\n\s*/g, ' ')).join('\n')}\n`)
  return error instanceof UsageError ? 2 : 1
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error)
}
