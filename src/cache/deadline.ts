import { UpstreamError } from '../oci/error.ts'
import type { Origin } from './origin.ts'

export interface Deadline {
  /** Milliseconds. */
  readonly within: number
  /** Ends the work earlier, and whatever it brought afterwards: a body, say. */
  readonly signal?: AbortSignal
}

/**
 * Asks an upstream with a limit on the whole question, its tokens and redirects included. What is answered in time may
 * be used for as long as it lasts. Rejects with UpstreamError `timeout`, or with the signal's reason.
 */
export async function ask<T>(
  origin: Origin,
  { within, signal }: Deadline,
  question: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    late.abort(
      new UpstreamError(origin.upstream.name, 'timeout', `${origin.repository}: no answer within ${within} ms`),
    )
  }, within)
  try {
    return await question(signal ? AbortSignal.any([signal, late.signal]) : late.signal)
  } finally {
    clearTimeout(timer)
  }
}
