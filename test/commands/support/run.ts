import { runLine } from '../../../src/commands/line.ts'
import { runningCommands } from '../../../src/commands/running.ts'
import type { Environment } from '../../../src/config/environment.ts'

export interface Ended {
  readonly status: number
  readonly out: string
  readonly err: string
}

/** Runs a command line in this process. `live`: as on a terminal. */
export async function run(
  line: readonly string[],
  { environment = {}, live = false }: { readonly environment?: Environment; readonly live?: boolean } = {},
): Promise<Ended> {
  const printed = { out: '', err: '' }
  const terminal = {
    out: (text: string) => {
      printed.out += text
    },
    err: (text: string) => {
      printed.err += text
    },
    live,
  }
  const status = await runLine(runningCommands, line, { environment, terminal })
  return { status, ...printed }
}
