import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** What a scenario may need beside Node; Debian names its packages alike, but for `nginx-light`. */
export type Program = 'nginx' | 'docker-registry' | 'wrk' | 'curl' | 'skopeo'

/** Servers live in sbin, which is not on everybody's path. */
const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin']

/** Where it is; undefined where it is not installed. */
export function find(program: Program): string | undefined {
  return folders.map((folder) => join(folder, program)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
