import { type Headers, headerOf } from './transfer/response.ts'
import type { RateLimit } from './upstream.ts'

/**
 * What is left of the right to pull, as Docker Hub tells it: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`.
 * Undefined where either is absent: that image or account has no limit, or the registry does not tell.
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
