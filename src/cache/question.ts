import { RegistryError } from '../oci/error.ts'
import { ask } from './deadline.ts'
import type { Observer } from './observer.ts'
import type { Origin } from './origin.ts'

export interface QuestionOptions {
  readonly observer: Observer
  /** Milliseconds an upstream may take over a question. */
  readonly answerTimeout: number
}

/**
 * Asks an upstream, and tells the observer where it could not be asked. Rejects with RegistryError where the answer is
 * that there is no such thing, and with UpstreamError or ContentMismatch.
 */
export async function consult<T>(
  origin: Origin,
  { observer, answerTimeout }: QuestionOptions,
  question: (signal: AbortSignal) => Promise<T | undefined>,
): Promise<T> {
  try {
    const answer = await ask(origin, { within: answerTimeout }, question)
    if (answer === undefined) throw new RegistryError('MANIFEST_UNKNOWN')
    return answer
  } catch (error) {
    if (!(error instanceof RegistryError)) observer.upstreamFailed(origin.upstream.name, error)
    throw error
  }
}
