import { readFile } from 'node:fs/promises'
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import type { Config } from './config/config.ts'
import { redactedConfig } from './config/effective.ts'
import { loadConfig } from './config/load.ts'
import { ConfigError } from './config/problem.ts'

type ExitStatus = 0 | 1 | 2

interface Flags {
  readonly config?: string | undefined
}

interface Command {
  readonly summary: string
  readonly options: ParseArgsOptionsConfig
  run(flags: Flags): Promise<ExitStatus>
}

const configOption = { config: { type: 'string' } } as const satisfies ParseArgsOptionsConfig

const commands: ReadonlyMap<string, Command> = new Map([
  ['serve', { summary: 'Run the mirror', options: configOption, run: runServer }],
  ['check-config', { summary: 'Print the effective configuration', options: configOption, run: checkConfig }],
  ['version', { summary: 'Print the version', options: {}, run: printVersion }],
])

/** A command line that means nothing. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Runs one command and ends the process with its status: 0, 1 where it failed, 2 where it was not understood. */
export async function main(argv: readonly string[]): Promise<never> {
  // Whoever read the output may leave (`| head`, a log collector that restarts): no reason to fall over.
  process.stdout.on('error', () => {})
  process.exit(await run(argv).catch(report))
}

async function run([name, ...rest]: readonly string[]): Promise<ExitStatus> {
  if (name === undefined) {
    process.stderr.write(generalHelp())
    return 2
  }
  if (['--help', '-h', 'help'].includes(name)) return print(generalHelp())
  if (name === '--version') return printVersion()
  const command = commands.get(name)
  if (!command) {
    throw new UsageError(`unknown ${name.startsWith('-') ? 'option' : 'command'} "${name}"; see entrepot --help`)
  }
  const { help, ...flags } = parseFlags(name, command.options, rest)
  return help ? print(commandHelp(name, command)) : command.run(flags)
}

function parseFlags(name: string, options: ParseArgsOptionsConfig, args: string[]): Flags & { help?: boolean } {
  try {
    return parseArgs({ args, options: { ...options, help: { type: 'boolean', short: 'h' } } }).values
  } catch (error) {
    // The first sentence says what is wrong; the others give advice for commands that take file names.
    const [sentence = ''] = messageOf(error).split(/\. |\n/)
    throw new UsageError(`${sentence.replace(/\.$/, '')}; see entrepot ${name} --help`, { cause: error })
  }
}

async function runServer(flags: Flags): Promise<ExitStatus> {
  const config = await configOf(flags)
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

async function checkConfig(flags: Flags): Promise<ExitStatus> {
  return print(redactedConfig(await configOf(flags)))
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

function configOf({ config }: Flags): Promise<Config> {
  return loadConfig(config ?? (process.env['ENTREPOT_CONFIG'] || undefined), process.env)
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

function generalHelp(): string {
  const lines = [...commands].map(([name, { summary }]) => `  ${name.padEnd(14)}${summary}`)
  return `entrepot: a pull-through caching mirror for container registries

Usage: entrepot <command> [options]

Commands:
${lines.join('\n')}

entrepot <command> --help tells more. Exit status: 0, 1 failed, 2 not understood.
`
}

function commandHelp(name: string, { summary, options }: Command): string {
  const config = 'config' in options
  const flag = '  --config FILE   the configuration, YAML; $ENTREPOT_CONFIG, or else the defaults, without it\n'
  return `${summary}.

Usage: entrepot ${name}${config ? ' [--config FILE]' : ''}

Options:
${config ? flag : ''}  -h, --help      this text
`
}
