import type { Context, Middleware } from 'koa'
import { AdminError, quoted } from './error.ts'

/** Refuses query parameters that the path does not know, and those that come twice. */
export function acceptQuery(...names: readonly string[]): Middleware {
  return async (ctx, next) => {
    for (const [name, value] of Object.entries(ctx.query)) {
      if (!names.includes(name)) throw unknown(name, names)
      if (typeof value !== 'string') throw new AdminError('INVALID', `the parameter ${name} is given twice`)
    }
    await next()
  }
}

/** One that `acceptQuery` has let through. */
export function parameter(ctx: Context, name: string): string | undefined {
  const value = ctx.query[name]
  return typeof value === 'string' ? value : undefined
}

/** A whole number between the two. Throws AdminError INVALID. */
export function count(ctx: Context, name: string, { least, most, otherwise }: Count): number {
  const text = parameter(ctx, name)
  if (text === undefined) return otherwise
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new AdminError('INVALID', `${name} is a number from ${least} to ${most}, not ${quoted(text)}`)
}

export interface Count {
  readonly least: number
  readonly most: number
  readonly otherwise: number
}

function unknown(name: string, names: readonly string[]): AdminError {
  const known = names.length === 0 ? 'there are none here' : `there are ${names.join(', ')}`
  return new AdminError('INVALID', `unknown parameter ${quoted(name)}; ${known}`)
}
