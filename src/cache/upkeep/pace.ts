import { setTimeout as sleep } from 'node:timers/promises'

export interface PaceOptions {
  /** Bytes a second; infinite for as fast as can be. */
  readonly rate: number
  readonly now: () => number
  readonly signal: AbortSignal
  /** Resolves after so many milliseconds, rejects when the signal says so; the real one, unless given. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

/** Waits shorter than this, in milliseconds, are left to add up. */
const minWait = 10

/** Spreads work over time: so many bytes a second, and no faster. */
export class Pace {
  readonly #options: Required<PaceOptions>
  /** When what has been spent so far is paid for. */
  #due = Number.NEGATIVE_INFINITY

  constructor(options: PaceOptions) {
    this.#options = { wait: (milliseconds, signal) => sleep(milliseconds, undefined, { signal }), ...options }
  }

  /** Resolves when there may be more; rejects when the signal says so. */
  async spent(bytes: number): Promise<void> {
    const { rate, now, signal, wait } = this.#options
    signal.throwIfAborted()
    // What was not used of the past is not saved up for a burst.
    this.#due = Math.max(this.#due, now()) + (bytes / rate) * 1000
    const ahead = this.#due - now()
    if (ahead >= minWait) await wait(ahead, signal)
  }
}
