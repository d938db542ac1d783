import type { Environment } from '../config/environment.ts'

/** 1: the command failed. 2: the command line was not valid. */
export type ExitStatus = 0 | 1 | 2

export interface Option {
  readonly type: 'string' | 'boolean'
  /** Stands for the value in the help: `URL`. */
  readonly value?: string
  readonly about: string
}

export type Options = Readonly<Record<string, Option>>

export interface Arguments {
  /** Stands for the arguments in the help: `IMAGE…`. */
  readonly shown: string
  readonly min?: number
  readonly max?: number
  readonly about: string
}

/** Where a command prints: results to `out`, everything else to `err`. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  /** `out` is a terminal. */
  readonly live: boolean
}

/** One run of a command. */
export interface Invocation {
  readonly flags: Readonly<Record<string, string | boolean | undefined>>
  readonly args: readonly string[]
  readonly environment: Environment
  readonly terminal: Terminal
}

export interface Command {
  /** A sentence without the full stop. */
  readonly summary: string
  readonly options: Options
  /** Undefined if it takes none. */
  readonly args?: Arguments
  /** Rejects if the command fails; with a UsageError if the command line is not valid. */
  run(invocation: Invocation): Promise<ExitStatus>
}

/** A command line that is not valid. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const configOption = {
  config: { type: 'string', value: 'FILE', about: 'the configuration, YAML; $ENTREPOT_CONFIG, or else the defaults' },
} as const satisfies Options

/** The options of every command for a running mirror. */
export const adminOptions = {
  admin: { type: 'string', value: 'URL', about: 'its admin listener; admin.listen of the configuration without it' },
  token: { type: 'string', value: 'TOKEN', about: 'its token; others can see it: better in $ENTREPOT_ADMIN_TOKEN' },
  ...configOption,
  json: { type: 'boolean', about: 'answer as JSON, for programs' },
} as const satisfies Options

/** The value of a string option. */
export function text(flags: Invocation['flags'], name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}
