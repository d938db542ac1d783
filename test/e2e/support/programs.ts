import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { suite, test } from 'node:test'

/** A suite that needs real programs; reported as skipped, with the reason, where one of them is absent. */
export function programSuite(name: string, programs: readonly string[], body: () => void): void {
  const absent = programs.find((program) => findProgram(program) === undefined)
  if (absent === undefined) suite(name, body)
  else test(name, { skip: `${absent} is not installed` }, () => undefined)
}

/** The system's own folders come first: what Debian installs is what is tested. */
export const searchPath = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', ...(process.env['PATH'] ?? '').split(delimiter)]

export function findProgram(name: string): string | undefined {
  return searchPath.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
