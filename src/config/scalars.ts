import { resolve } from 'node:path'
import * as z from 'zod'
import { parseAddress } from './address.ts'
import { Secret } from './secret.ts'
import { parseDuration, parseSize } from './units.ts'

/** Milliseconds. Node's timers fire at once if they are given more. */
const maxTimer = 2 ** 31 - 1

/** `host:port`. */
export const address = parsed(parseAddress, 'must be host:port, such as 0.0.0.0:5000 or [::]:5000')

/** Milliseconds; not for use with a timer. */
export const duration = parsed(parseDuration, 'must be a duration, such as 5m, 1h30m or 30d')

/** Milliseconds for a timer: more than zero, and at most what a timer accepts. */
export const timeout = duration.refine((value) => value > 0 && value <= maxTimer, {
  error: 'must be more than 0s and at most 24d',
})

/** Bytes. */
export const size = parsed(parseSize, 'must be a size, such as 50GiB, 8MiB or 500MB')

export const path = z
  .string()
  .min(1, { error: 'must not be empty' })
  .transform((text) => resolve(text))

export const secret = z
  .string()
  .min(1, { error: 'must not be empty' })
  .transform((text) => new Secret(text))

/** An absolute http or https URL without a login, as written. */
export const webUrl = z
  .string()
  .refine(isWebUrl, { error: 'must be an absolute URL that begins with http:// or https://' })
  .refine((text) => !isWebUrl(text) || !hasLogin(text), {
    error: 'must not contain a login; use username and password',
  })

/** As written: `auth.example.com`, `auth.local:5001`, `https://auth.example.com/token`. */
export const hostOrUrl = z.string().refine(isHostOrUrl, {
  error: 'must be a host, host:port or an absolute URL, without a login in it',
})

/** A Redis URL. It is printed without its password. */
export const redisUrl = z
  .string()
  .refine(
    (text) => /^rediss?:\/\/[^/?#]+(?:\/\d*)?(?:\?cluster=true(?:&node=[^&#]+)*)?$/.test(text) && URL.canParse(text),
    {
      error: 'must be a URL such as redis://redis.local:6379/0, or rediss:// for TLS',
    },
  )
  .transform((text) => {
    const url = new URL(text)
    if (url.password !== '') url.password = '***'
    return new Secret(text, url.href)
  })

/** A host name or IPv4 address without a port, lower-case. */
export const hostName = z
  .string()
  .regex(/^[A-Za-z\d](?:[A-Za-z\d.-]*[A-Za-z\d])?$/, { error: 'must be a host name without a port' })
  .transform((text) => text.toLowerCase())

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number) {
  return z
    .number()
    .refine((value) => Number.isSafeInteger(value) && value >= min && value <= max, {
      error: `must be a whole number from ${min} to ${max}`,
    })
    .meta({ type: 'integer', minimum: min, maximum: max })
}

function parsed<T>(parse: (text: string) => T | undefined, error: string) {
  return z.string({ error }).transform((text, context): T => {
    const value = parse(text)
    if (value === undefined) context.addIssue({ code: 'custom', message: error, input: text })
    return value ?? z.NEVER
  })
}

function isWebUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text)
}

function isHostOrUrl(text: string): boolean {
  if (text.includes('://')) return isWebUrl(text) && !hasLogin(text)
  return /^[^\s/\\?#@]+$/.test(text) && URL.canParse(`http://${text}`)
}

function hasLogin(url: string): boolean {
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}
