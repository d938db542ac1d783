import type { Context, Middleware } from 'koa'
import { AdminError, quoted } from './error.ts'

/** Refuses unknown query parameters, and those that are given twice. */
export function acceptQuery(...names: readonly string[]): Middleware {
  return async (ctx, next) => {
    for (const [name, value] of Object.entries(ctx.query)) {
      if (!names.includes(name)) throw unknown(name, names)
      if (typeof value !== 'string') throw new AdminError('INVALID', `the parameter ${name} is given twice`)
    }
    await next()
  }
}

/** A parameter that `acceptQuery` has accepted. */
export function parameter(ctx: Context, name: string): string | undefined {
  const value = ctx.query[name]
  return typeof value === 'string' ? value : undefined
}

/** A whole number from `min` to `max`, or `fallback` if the parameter is absent. Throws AdminError INVALID. */
export function count(
  ctx: Context,
  name: string,
  { min, max, fallback }: Readonly<Record<'min' | 'max' | 'fallback', number>>,
): number {
  const text = parameter(ctx, name)
  if (text === undefined) return fallback
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new AdminError('INVALID', `${name} is a number from ${min} to ${max}, not ${quoted(text)}`)
}

function unknown(name: string, names: readonly string[]): AdminError {
  const known = names.length === 0 ? 'this path has none' : `this path has ${names.join(', ')}`
  return new AdminError('INVALID', `unknown parameter ${quoted(name)}; ${known}`)
}
