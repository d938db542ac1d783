import type * as z from 'zod'

/** A configuration that cannot be used. It has all problems, one line each, without secrets. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

export interface Problem {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** The problems, one for each key. */
export function problemsOf(error: z.ZodError): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    const { path, message } = issue
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: [...path, key], message }))
    if (issue.code === 'invalid_key') return [{ path, message: issue.issues[0]?.message ?? message }]
    return [{ path, message }]
  })
}

/** Our messages for zod's own checks. They never quote a value: it may be a secret. */
export const wording: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is missing' : typeMessage(issue.expected, issue.input)
    case 'invalid_value':
      return `must be ${list(issue.values)}`
    case 'invalid_union':
      return `must be ${list(Array.isArray(issue['options']) ? issue['options'] : [])}`
    case 'unrecognized_keys':
      return 'unknown key'
    default:
      return undefined
  }
}

/** `upstreams.docker.io.url`. Removes a login that is part of a key. */
export function pathText(path: readonly PropertyKey[]): string {
  return path
    .map(String)
    .join('.')
    .replaceAll(/\/\/[^/@]*@/g, '//***@')
}

const typeNames: Readonly<Record<string, string>> = {
  object: 'a mapping of keys to values',
  record: 'a mapping of keys to values',
  array: 'a list',
  string: 'a text',
  number: 'a number',
}

function typeMessage(expected: string, input: unknown): string {
  const quotes = expected === 'string' && ['number', 'boolean'].includes(typeof input) ? '; put it in quotes' : ''
  return `must be ${typeNames[expected] ?? expected}${quotes}`
}

function list(values: readonly unknown[]): string {
  const texts = values.map(String)
  return texts.length < 2 ? texts.join() : `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`
}
