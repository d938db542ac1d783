import { Log, type LogLevel } from '../../../src/telemetry/log.ts'

export interface MemoryLog {
  readonly log: Log
  /** Everything written so far, parsed. */
  lines(): Promise<Record<string, unknown>[]>
}

export function memoryLog(level: LogLevel = 'debug', now: () => number = () => 0): MemoryLog {
  let text = ''
  const log = new Log({
    level,
    now,
    output: async (lines) => {
      text += lines
    },
  })
  return {
    log,
    lines: async () => {
      await log.flush()
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))
    },
  }
}
