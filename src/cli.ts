import { readFile } from 'node:fs/promises'
import { flushCompileCache } from 'node:module'
import { configOption, type ExitStatus, type Invocation, text } from './commands/command.ts'
import { type Commands, runLine } from './commands/line.ts'
import { runningCommands } from './commands/running.ts'
import type { Config } from './config/config.ts'
import { redactedConfig } from './config/effective.ts'
import { loadConfig } from './config/load.ts'

const commands: Commands = new Map([
  ['serve', { summary: 'Run the mirror', options: configOption, run: runServer }],
  ['check-config', { summary: 'Print the effective configuration', options: configOption, run: checkConfig }],
  ['version', { summary: 'Print the version', options: {}, run: printVersion }],
  ...runningCommands,
])

/** Runs a command and ends the process with its exit status. */
export async function main(argv: readonly string[]): Promise<never> {
  // The reader of the output may close it (`| head`, a log collector that restarts); that must not end the process.
  process.stdout.on('error', () => {})
  const terminal: Invocation['terminal'] = {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    live: process.stdout.isTTY === true,
  }
  process.exit(await runLine(commands, argv, { environment: process.env, terminal }))
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
  // Node writes it only at a clean exit, and the process may be killed.
  flushCompileCache()
  await server.stop(await signal)
  return 0
}

async function checkConfig(invocation: Invocation): Promise<ExitStatus> {
  invocation.terminal.out(redactedConfig(await configOf(invocation)))
  return 0
}

async function printVersion({ terminal }: Invocation): Promise<ExitStatus> {
  terminal.out(`entrepot ${await version()}\n`)
  return 0
}

/** Milliseconds in which a second signal counts as the first one: the terminal and npm both send Ctrl-C. */
const echoTime = 500

/** Resolves with the first signal to stop. A later one ends the process at once. */
function firstSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let isEchoOver = false
  const onSignal = (name: NodeJS.Signals) => {
    if (isEchoOver) process.exit(1)
    setTimeout(() => {
      isEchoOver = true
    }, echoTime).unref()
    resolve(name)
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  return promise
}

function configOf({ flags, environment }: Invocation): Promise<Config> {
  return loadConfig(text(flags, 'config') ?? (environment['ENTREPOT_CONFIG'] || undefined), environment)
}

async function version(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
