import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Programs that may be installed; Debian names its packages alike, but for `nginx-light` and `golang`. */
export type Program = 'nginx' | 'docker-registry' | 'wrk' | 'curl' | 'skopeo' | 'go'

/** What a scenario may need beside Node; distribution 3 is built. */
export type Need = Exclude<Program, 'go'> | 'distribution 3'

/** Servers live in sbin, which is not on everybody's path, and Go where its makers put it. */
const folders = [
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/sbin',
  '/usr/local/sbin',
  '/sbin',
  '/usr/local/go/bin',
]

/** Where it is; undefined where it is not installed. */
export function find(program: Program): string | undefined {
  return folders.map((folder) => join(folder, program)).find(isExecutable)
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
