import { isRecord } from './record.ts'

/** Environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Each variable, and the key that it sets, over the file. */
const variables: readonly (readonly [name: string, path: readonly string[]])[] = [
  ['ENTREPOT_LISTEN', ['listen']],
  ['ENTREPOT_ADMIN_LISTEN', ['admin', 'listen']],
  ['ENTREPOT_ADMIN_TOKEN', ['admin', 'token']],
  ['ENTREPOT_STORAGE_PATH', ['storage', 'path']],
  ['ENTREPOT_STORAGE_MAX_SIZE', ['storage', 'maxSize']],
  ['ENTREPOT_LOG_LEVEL', ['log', 'level']],
  ['REDIS_URL', ['metadata', 'url']],
]

/** A configuration with values from the environment. `variableAt` names the variable that set a key. */
export interface Overlaid {
  readonly value: unknown
  variableAt(path: readonly PropertyKey[]): string | undefined
}

/** An empty variable counts as unset: compose files and charts leave a variable out that way. */
export function overlay(value: unknown, environment: Environment): Overlaid {
  const set = variables.filter(([name]) => environment[name])
  return {
    value: set.reduce((sum, [name, path]) => placed(chosen(sum, name), path, environment[name]), value),
    variableAt: (path) => set.find(([, own]) => own.join('.') === path.join('.'))?.[0],
  }
}

/** Effects beyond a variable's own key: a token replaces the token file, and a Redis URL selects Redis. */
function chosen(value: unknown, name: string): unknown {
  if (name === 'ENTREPOT_ADMIN_TOKEN' && isRecord(value) && isRecord(value['admin'])) {
    const { tokenFile: _, ...admin } = value['admin']
    return { ...value, admin }
  }
  if (name !== 'REDIS_URL') return value
  const metadata = isRecord(value) ? value['metadata'] : undefined
  const kept = isRecord(metadata) && metadata['kind'] !== 'sqlite' ? metadata : undefined
  return placed(placed(value, ['metadata'], kept), ['metadata', 'kind'], 'redis')
}

/** A copy with one value set. A value that should be a mapping but is not stays as it is, and is reported later. */
function placed(value: unknown, [key, ...rest]: readonly string[], item: unknown): unknown {
  if (key === undefined) return item
  const record = value ?? {}
  return isRecord(record) ? { ...record, [key]: placed(record[key], rest, item) } : value
}
