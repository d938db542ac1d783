import { getSystemErrorMessage } from 'node:util'

/** Why a file could not be read, by the system's message: `no such file or directory`. */
export function failureOf(error: NodeJS.ErrnoException): { readonly reason: string } {
  return { reason: error.errno === undefined ? error.message : getSystemErrorMessage(error.errno) }
}
