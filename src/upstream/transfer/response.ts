import type { Body } from './body.ts'
import type { ResponseBody } from './response-body.ts'

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

export interface Response<Content extends ResponseBody = Body> {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Headers
  readonly body: Content
}

/** A field that should come once; the first where it came more often. */
export function headerOf(headers: Headers, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : value?.[0]
}

/** Bytes; undefined where it is absent or no number. */
export function contentLengthOf(headers: Headers): number | undefined {
  const text = headerOf(headers, 'content-length')
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** Lower-case; undefined for `identity`. */
export function contentEncodingOf(headers: Headers): string | undefined {
  const encoding = headerOf(headers, 'content-encoding')?.trim().toLowerCase()
  return encoding === '' || encoding === 'identity' ? undefined : encoding
}

/** Seconds from now, rounded up; undefined where it is absent, past or unreadable (RFC 9110 §10.2.3). */
export function retryAfterOf(headers: Headers, now: number): number | undefined {
  const text = headerOf(headers, 'retry-after')?.trim() ?? ''
  const seconds = /^\d{1,10}$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - now) / 1000)
  return seconds > 0 ? seconds : undefined
}

/** Where a redirect leads; `none` where it is none, null where it leads nowhere. */
export function locationOf({ status, headers }: Response<ResponseBody>, base: URL): URL | null | 'none' {
  if (![301, 302, 303, 307, 308].includes(status)) return 'none'
  return URL.parse(headerOf(headers, 'location') ?? 'about:', base.href)
}
