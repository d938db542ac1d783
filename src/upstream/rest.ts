import { UpstreamError, type UpstreamErrorKind } from '../oci/error.ts'
import { withTimeLimit } from '../oci/time-limit.ts'

/** What a task reports of the upstream's health, for each request that it sends. */
export interface HealthProbe {
  /** A request goes out. Until it is answered, a failure is the upstream's. */
  asked(): void
  /** The upstream has answered. A later failure, such as the storage's that it redirects to, is not the upstream's. */
  answered(): void
}

export interface RestOptions {
  readonly upstream: string
  /** Milliseconds: the first rest, the longest one, and the longest that `Retry-After` can set. */
  readonly first: number
  readonly max: number
  readonly maxRetryAfter: number
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** The kinds of failure that concern the whole upstream. The others concern one repository or one login. */
type RestKind = Extract<UpstreamErrorKind, 'unreachable' | 'timeout' | 'rate-limited' | 'unavailable'>

type Fate = 'success' | 'failure' | 'unknown'

/**
 * Keeps requests away from an upstream that has failed, for a while: a circuit breaker.
 *
 *     state          requests                               leaves the state
 *     in order       all go out                             a failure → resting; a 429 → limited
 *     resting        one at a time goes out, as a trial;    a success → in order; its time is over → in order, but the
 *                    the others wait for its outcome        next failure rests twice as long
 *     limited        none goes out                          its time is over → in order
 *
 * The first rest takes `first`, and each failure without a success in between doubles it, up to `max`. `Retry-After`
 * sets the time instead, up to `maxRetryAfter`. A late success does not end a limit.
 */
export class Rest {
  readonly #options: RestOptions
  #kind: RestKind = 'unavailable'
  #until = 0
  /** Failures since the last success. */
  #failures = 0
  /**
   * Counts the rests. A request that began in an earlier epoch belongs to the same outage: its failure does not count
   * again.
   */
  #epoch = 0
  #trial: PromiseWithResolvers<Fate> | undefined

  constructor(options: RestOptions) {
    this.#options = options
  }

  /** The end of the rest, in epoch milliseconds; undefined while the upstream is in order. */
  get until(): number | undefined {
    return this.#until > this.#options.now() ? this.#until : undefined
  }

  /** Reports that an answer is overdue: begins a rest. */
  overdue(): void {
    if (this.until === undefined) this.#begin('timeout', undefined)
  }

  /** Rejects as `act` does; while the upstream rests, with an UpstreamError of the kind that began the rest. */
  async run<T>(signal: AbortSignal, act: (health: HealthProbe) => Promise<T>): Promise<T> {
    for (;;) {
      signal.throwIfAborted()
      if (this.until === undefined) return this.bypass(act)
      if (this.#kind === 'rate-limited') throw this.#refusal()
      const running = this.#trial
      if (!running) return this.#runTrial(act)
      const fate = await withTimeLimit({ signal }, () => running.promise)
      if (fate === 'failure') throw this.#refusal()
    }
  }

  /** Runs `act` even while the upstream rests. Its outcome counts like any other. */
  bypass<T>(act: (health: HealthProbe) => Promise<T>): Promise<T> {
    return this.#watch(act, () => {})
  }

  async #watch<T>(act: (health: HealthProbe) => Promise<T>, onFate: (fate: Fate) => void): Promise<T> {
    const epoch = this.#epoch
    let open = true
    const asked = () => {
      open = true
    }
    const answered = () => {
      if (!open) return
      open = false
      this.#succeed()
      onFate('success')
    }
    try {
      const result = await act({ asked, answered })
      answered()
      return result
    } catch (error) {
      if (open && error instanceof UpstreamError && isRestKind(error.kind)) {
        this.#fail(error.kind, error.retryAfter, epoch)
        onFate('failure')
      }
      throw error
    }
  }

  async #runTrial<T>(act: (health: HealthProbe) => Promise<T>): Promise<T> {
    const trial = Promise.withResolvers<Fate>()
    this.#trial = trial
    const end = (fate: Fate) => {
      if (this.#trial === trial) this.#trial = undefined
      trial.resolve(fate)
    }
    try {
      return await this.#watch(act, end)
    } finally {
      // No answer came, since the client left: another request becomes the trial.
      end('unknown')
    }
  }

  #fail(kind: RestKind, retryAfter: number | undefined, epoch: number): void {
    if (epoch === this.#epoch || this.until === undefined) this.#begin(kind, retryAfter)
    else if (retryAfter !== undefined || kind === 'rate-limited') this.#prolong(kind, retryAfter)
  }

  #succeed(): void {
    if (this.until !== undefined && this.#kind === 'rate-limited') return
    this.#failures = 0
    this.#until = 0
  }

  #begin(kind: RestKind, retryAfter: number | undefined): void {
    const { now } = this.#options
    // No other failure ends a limit early.
    if (this.until === undefined || this.#kind !== 'rate-limited') this.#kind = kind
    this.#epoch += 1
    this.#failures += 1
    this.#until = Math.max(this.until ?? 0, now() + this.#duration(retryAfter))
  }

  /** One more failure of the same outage. */
  #prolong(kind: RestKind, retryAfter: number | undefined): void {
    if (kind === 'rate-limited') this.#kind = kind
    this.#until = Math.max(this.#until, this.#options.now() + this.#duration(retryAfter))
  }

  #duration(retryAfter: number | undefined): number {
    const { first, max, maxRetryAfter } = this.#options
    if (retryAfter !== undefined) return Math.min(retryAfter * 1000, maxRetryAfter)
    return Math.min(first * 2 ** (this.#failures - 1), max)
  }

  #refusal(): UpstreamError {
    const { upstream, now } = this.#options
    const retryAfter = Math.max(1, Math.ceil((this.#until - now()) / 1000))
    return new UpstreamError(upstream, this.#kind, 'resting after a failure', { retryAfter })
  }
}

function isRestKind(kind: UpstreamErrorKind): kind is RestKind {
  return kind !== 'denied' && kind !== 'protocol'
}
