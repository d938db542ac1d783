export interface TimeLimit {
  /** Milliseconds that the work may take; no limit unless given. */
  readonly timeout?: number | undefined
  /** Ends the wait earlier. Rejects with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Makes the error that a time-out rejects with. */
  readonly error?: (() => Error) | undefined
}

/**
 * Waits for `work` until a time-out or a signal. Every wait with a limit goes through this one.
 *
 * The signal that `work` gets is aborted when the wait ends too early, with the error that the wait rejects with. When
 * the work has ended in time, the time-out no longer counts, and the signal follows `signal` alone: so what the work
 * brought, such as an open body, stays usable. Work that ignores its signal goes on, and its result is dropped.
 */
export async function withTimeLimit<T>(limit: TimeLimit, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { timeout, signal, error = () => new Error(`no answer within ${timeout} ms`) } = limit
  const late = new AbortController()
  const either = signal ? AbortSignal.any([signal, late.signal]) : late.signal
  either.throwIfAborted()
  const ended = Promise.withResolvers<never>()
  const end = () => ended.reject(either.reason)
  either.addEventListener('abort', end, { once: true })
  let turn: NodeJS.Immediate | undefined
  const expire = () => {
    // One more turn of the event loop: an answer may have arrived while the process was too busy to read it.
    turn = setImmediate(() => late.abort(error()))
  }
  const timer = timeout === undefined ? undefined : setTimeout(expire, timeout)
  try {
    return await Promise.race([work(either), ended.promise])
  } finally {
    clearTimeout(timer)
    clearImmediate(turn)
    either.removeEventListener('abort', end)
  }
}
