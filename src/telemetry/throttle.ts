interface Window {
  startedAt: number
  suppressed: number
}

/** Passes one event per key and interval. Keys must come from a bounded set: they are kept for ever. */
export class Throttle {
  readonly #interval: number
  readonly #now: () => number
  readonly #windows = new Map<string, Window>()

  /** `interval` in milliseconds, `now` in epoch milliseconds. */
  constructor(interval: number, now: () => number) {
    this.#interval = interval
    this.#now = now
  }

  /** If the event passes: the number of events of its key suppressed since the last one. Otherwise undefined. */
  pass(key: string): number | undefined {
    const now = this.#now()
    const window = this.#windows.get(key)
    const elapsed = window ? now - window.startedAt : this.#interval
    // After the clock was set back, the log must not stay silent until it has caught up.
    if (window && elapsed >= 0 && elapsed < this.#interval) {
      window.suppressed += 1
      return undefined
    }
    this.#windows.set(key, { startedAt: now, suppressed: 0 })
    return window?.suppressed ?? 0
  }
}
