import { type ErrorCode, RegistryError, UpstreamError } from '../oci/error.ts'
import { withTimeLimit } from '../oci/time-limit.ts'
import type { Observer } from './observer.ts'
import type { Origin } from './origin.ts'

export interface AskLimits {
  /** Milliseconds until the upstream has answered, its tokens and redirects included. A body may take longer. */
  readonly answerTimeout: number
  /** Ends the request, and after the answer the body that it brought. */
  readonly signal?: AbortSignal
}

export interface AskOptions extends AskLimits {
  readonly observer: Observer
}

type Ask<T> = (signal: AbortSignal) => Promise<T>

/**
 * Asks an upstream, with a limit on time. Rejects with UpstreamError `timeout`, with the signal's reason, or as `ask`
 * does.
 */
export function askUpstream<T>(origin: Origin, { answerTimeout, signal }: AskLimits, ask: Ask<T>): Promise<T> {
  const { upstream, repository } = origin
  const error = () => new UpstreamError(upstream.name, 'timeout', `${repository}: no answer within ${answerTimeout} ms`)
  return withTimeLimit({ timeout: answerTimeout, signal, error }, ask)
}

/**
 * As `askUpstream`, for what the client cannot do without. Rejects with RegistryError `absent` where the upstream does
 * not have it, and reports an upstream that could not be asked to the observer.
 */
export async function requireFromUpstream<T>(
  origin: Origin,
  absent: ErrorCode,
  options: AskOptions,
  ask: Ask<T | undefined>,
): Promise<T> {
  try {
    const answer = await askUpstream(origin, options, ask)
    if (answer === undefined) throw new RegistryError(absent)
    return answer
  } catch (error) {
    if (!(error instanceof RegistryError)) options.observer.upstreamFailed(origin.upstream.name, error)
    throw error
  }
}
