import { UpstreamError, type UpstreamErrorKind } from '../oci/error.ts'
import { withTimeLimit } from '../oci/time-limit.ts'

/** One task's account of the upstream's health, by the questions that it puts. */
export interface HealthProbe {
  /** A question goes out: until it is answered, a failure is the upstream's. */
  asked(): void
  /** The upstream has answered: what fails from here on, such as the storage that it sent us to, is not its failure. */
  answered(): void
}

export interface RestOptions {
  readonly upstream: string
  /** Milliseconds: of the first rest, of the longest, of the longest that `Retry-After` gets. */
  readonly first: number
  readonly max: number
  readonly maxRetryAfter: number
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** The kinds that speak of the whole upstream; the others speak of one repository or one login. */
type RestKind = Extract<UpstreamErrorKind, 'unreachable' | 'timeout' | 'rate-limited' | 'unavailable'>

type Fate = 'success' | 'failure' | 'unknown'

/**
 * A time in which an upstream that failed is not asked, but for one probe.
 *
 *     in order ──failure──▶ resting ──a success──▶ in order
 *                             │ its time passes: everybody asks again; the next failure rests twice as long
 *
 * While it rests one request at a time goes through, and the others wait to hear how that one fared. After a 429 there
 * is no probe, and no success ends the rest: who is told to stay away stays away.
 */
export class Rest {
  readonly #options: RestOptions
  #kind: RestKind = 'unavailable'
  #until = 0
  /** Failures without a success between them. */
  #failures = 0
  /** Rests begun: tells a failure of this outage from one that was under way when it began. */
  #epoch = 0
  #probe: PromiseWithResolvers<Fate> | undefined

  constructor(options: RestOptions) {
    this.#options = options
  }

  /** Epoch milliseconds; undefined while the upstream is in order. */
  get until(): number | undefined {
    return this.#until > this.#options.now() ? this.#until : undefined
  }

  /** An answer is overdue. */
  overdue(): void {
    if (this.until === undefined) this.#begin('timeout', undefined)
  }

  /** Throws what `act` throws; and, while the upstream rests, UpstreamError of the kind that it rests for. */
  async run<T>(signal: AbortSignal, act: (health: HealthProbe) => Promise<T>): Promise<T> {
    for (;;) {
      signal.throwIfAborted()
      if (this.until === undefined) return this.bypass(act)
      if (this.#kind === 'rate-limited') throw this.#refusal()
      const running = this.#probe
      if (!running) return this.#runProbe(act)
      const fate = await withTimeLimit({ signal }, () => running.promise)
      if (fate === 'failure') throw this.#refusal()
    }
  }

  /** Asks whether it rests or not; what comes of it counts all the same. */
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

  async #runProbe<T>(act: (health: HealthProbe) => Promise<T>): Promise<T> {
    const probe = Promise.withResolvers<Fate>()
    this.#probe = probe
    const end = (fate: Fate) => {
      if (this.#probe === probe) this.#probe = undefined
      probe.resolve(fate)
    }
    try {
      return await this.#watch(act, end)
    } finally {
      end('unknown') // where its client left before there was an answer; another one probes
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
    // While a 429's rest lasts, nothing else makes it a lesser one.
    if (this.until === undefined || this.#kind !== 'rate-limited') this.#kind = kind
    this.#epoch += 1
    this.#failures += 1
    this.#until = Math.max(this.until ?? 0, now() + this.#duration(retryAfter))
  }

  /** One more voice of the same outage. */
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
