import { readFile } from 'node:fs/promises'
import type { Config } from './config.ts'
import { readDocument } from './document.ts'
import { type Environment, overlay } from './environment.ts'
import { failureOf } from './failure.ts'
import { ConfigError, pathText, problemsOf, wording } from './problem.ts'
import { schema } from './schema.ts'

/** Reads a configuration file, if there is one, and applies the environment. Throws a ConfigError. */
export async function loadConfig(file: string | undefined, environment: Environment): Promise<Config> {
  if (file === undefined) return parseConfig('', '', environment)
  const text = await readFile(file, 'utf8').catch(failureOf)
  if (typeof text !== 'string') throw new ConfigError([`cannot read ${file}: ${text.reason}`])
  return parseConfig(text, file, environment)
}

/** `name` is the file's name in messages. */
export async function parseConfig(text: string, name: string, environment: Environment): Promise<Config> {
  const document = readDocument(text)
  if (document.faults.length > 0) {
    throw new ConfigError(document.faults.map(({ line, message }) => `${name}:${line}: ${message}`))
  }
  const { value, variableAt } = overlay(document.value ?? {}, environment)
  const result = await schema.safeParseAsync(value, { error: wording })
  if (result.success) return deepFreeze(result.data)

  const located = problemsOf(result.error).map(({ path, message }) => {
    const variable = variableAt(path)
    const line = variable === undefined ? (document.lineOf(path) ?? 0) : 0
    const place = line > 0 ? `${name}:${line}` : name
    const where = variable ?? [place, pathText(path)].filter((part) => part !== '').join(': ')
    return { line, text: `${where}: ${message}` }
  })
  // Some checks read a file, so problems are found in any order.
  located.sort((a, b) => a.line - b.line || a.text.localeCompare(b.text, 'en'))
  throw new ConfigError(located.map(({ text }) => text))
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}
