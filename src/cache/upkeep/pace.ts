import { setTimeout as sleep } from 'node:timers/promises'

export interface PaceOptions {
  /** Bytes a second; infinite for no limit. */
  readonly rate: number
  readonly now: () => number
  readonly signal: AbortSignal
  /** Waits so many milliseconds; rejects when the signal is aborted. A timer, unless given. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

/** Shorter waits, in milliseconds, are left out until they add up to this. */
const minWait = 10

/** Limits work to so many bytes a second. */
export class Pace {
  readonly #options: Required<PaceOptions>
  /** When the bytes spent so far keep to the rate. */
  #due = Number.NEGATIVE_INFINITY

  constructor(options: PaceOptions) {
    this.#options = { wait: (milliseconds, signal) => sleep(milliseconds, undefined, { signal }), ...options }
  }

  /** Counts bytes, and waits until the rate allows more. Rejects when the signal is aborted. */
  async spent(bytes: number): Promise<void> {
    const { rate, now, signal, wait } = this.#options
    signal.throwIfAborted()
    // Idle time is not saved up for a burst.
    this.#due = Math.max(this.#due, now()) + (bytes / rate) * 1000
    const ahead = this.#due - now()
    if (ahead >= minWait) await wait(ahead, signal)
  }
}
