import type { Environment } from '../config/environment.ts'

/** 1 where it failed, 2 where it was not understood. */
export type ExitStatus = 0 | 1 | 2

export interface Option {
  readonly type: 'string' | 'boolean'
  /** What stands for its value in the help: `URL`. */
  readonly value?: string
  readonly about: string
}

export type Options = Readonly<Record<string, Option>>

export interface Arguments {
  /** As the help shows them: `IMAGE…`. */
  readonly shown: string
  readonly least?: number
  readonly most?: number
  readonly about: string
}

/** Where a command prints: what was asked for to `out`, all else to `err`. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  /** Whether a person reads `out` as it comes. */
  readonly live: boolean
}

/** One call of a command. */
export interface Invocation {
  readonly flags: Readonly<Record<string, string | boolean | undefined>>
  readonly args: readonly string[]
  readonly environment: Environment
  readonly terminal: Terminal
}

export interface Command {
  /** A sentence without its full stop. */
  readonly summary: string
  readonly options: Options
  /** Undefined where it takes none. */
  readonly args?: Arguments
  /** Rejects where it failed: UsageError where it was not understood. */
  run(invocation: Invocation): Promise<ExitStatus>
}

/** A command line that means nothing. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const configOption = {
  config: { type: 'string', value: 'FILE', about: 'the configuration, YAML; $ENTREPOT_CONFIG, or else the defaults' },
} as const satisfies Options

/** Of every command that asks a running mirror. */
export const adminOptions = {
  admin: { type: 'string', value: 'URL', about: 'its admin listener; admin.listen of the configuration without it' },
  token: { type: 'string', value: 'TOKEN', about: 'its token; others can see it: better in $ENTREPOT_ADMIN_TOKEN' },
  ...configOption,
  json: { type: 'boolean', about: 'answer as JSON, for programs' },
} as const satisfies Options

/** A flag that is a text. */
export function text(flags: Invocation['flags'], name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}
