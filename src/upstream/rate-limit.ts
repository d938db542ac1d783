import { type Headers, headerOf } from './transfer/response.ts'
import type { RateLimit } from './upstream.ts'

/**
 * Reads a rate limit from Docker Hub's headers: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`.
 * Undefined where one of them is absent: this image or account has no limit, or the registry does not say.
 */
export function parseRateLimit(headers: Headers): RateLimit | undefined {
  const limit = parse(headerOf(headers, 'ratelimit-limit'))
  const remaining = parse(headerOf(headers, 'ratelimit-remaining'))
  if (!limit || !remaining) return undefined
  return { limit: limit.count, remaining: remaining.count, window: limit.window || remaining.window }
}

function parse(text: string | undefined): { count: number; window: number } | undefined {
  const match = /^(\d{1,12})(?:\s*;\s*w=(\d{1,12}))?$/.exec(text?.trim() ?? '')
  return match ? { count: Number(match[1]), window: Number(match[2] ?? 0) } : undefined
}
