import { parseArgs } from 'node:util'
import { ConfigError } from '../config/problem.ts'
import { type Command, type ExitStatus, type Invocation, type Options, UsageError } from './command.ts'
import { commandHelp, generalHelp } from './help.ts'

export type Commands = ReadonlyMap<string, Command>

/** Runs a command line. A failure is printed in one line, and is the exit status. Never rejects. */
export async function runLine(
  commands: Commands,
  line: readonly string[],
  surroundings: Pick<Invocation, 'environment' | 'terminal'>,
): Promise<ExitStatus> {
  const { terminal } = surroundings
  try {
    const [name, ...rest] = line
    if (name === undefined) {
      terminal.err(generalHelp(commands))
      return 2
    }
    return await run(commands, name, rest, surroundings)
  } catch (error) {
    // One line, or one for each problem of a configuration.
    const lines = error instanceof ConfigError ? error.problems : [`entrepot: ${messageOf(error)}`]
    terminal.err(`${lines.map((text) => text.replaceAll(/\s*\n\s*/g, ' ')).join('\n')}\n`)
    return error instanceof UsageError ? 2 : 1
  }
}

async function run(
  commands: Commands,
  given: string,
  rest: string[],
  surroundings: Pick<Invocation, 'environment' | 'terminal'>,
): Promise<ExitStatus> {
  const help = ['--help', '-h', 'help'].includes(given)
  if (help) surroundings.terminal.out(generalHelp(commands))
  if (help) return 0
  const name = given === '--version' ? 'version' : given
  const command = commands.get(name)
  if (!command) {
    throw new UsageError(`unknown ${name.startsWith('-') ? 'option' : 'command'} "${name}"; see entrepot --help`)
  }
  const { flags, args } = parse(name, command, rest)
  if (flags['help']) surroundings.terminal.out(commandHelp(name, command))
  if (flags['help']) return 0
  const { shown, min = 0, max = Number.POSITIVE_INFINITY } = command.args ?? {}
  if (args.length < min || args.length > max) {
    throw new UsageError(`${name} needs ${shown}; see entrepot ${name} --help`)
  }
  return command.run({ flags, args, ...surroundings })
}

function parse(name: string, command: Command, args: string[]): Pick<Invocation, 'flags' | 'args'> {
  try {
    const options = parserOptions(command.options)
    const { values, positionals } = parseArgs({ args, options, allowPositionals: command.args !== undefined })
    return { flags: values, args: positionals }
  } catch (error) {
    // Only the first sentence: the others are advice about file names.
    const [sentence = ''] = messageOf(error).split(/\. |\n/)
    throw new UsageError(`${sentence.replace(/\.$/, '')}; see entrepot ${name} --help`, { cause: error })
  }
}

function parserOptions(options: Options) {
  const own = Object.entries(options).map(([key, { type }]) => [key, { type }] as const)
  return { ...Object.fromEntries(own), help: { type: 'boolean', short: 'h' } } as const
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error)
}
