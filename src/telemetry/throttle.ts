interface Window {
  startedAt: number
  suppressed: number
}

/** Lets one event a key and interval pass. Keys must come from a bounded set: none is forgotten. */
export class Throttle {
  readonly #interval: number
  readonly #now: () => number
  readonly #windows = new Map<string, Window>()

  /** `interval` in milliseconds, `now` in epoch milliseconds. */
  constructor(interval: number, now: () => number) {
    this.#interval = interval
    this.#now = now
  }

  /** How many events of the key were held back since the last that passed, if this one passes; else undefined. */
  pass(key: string): number | undefined {
    const now = this.#now()
    const window = this.#windows.get(key)
    const elapsed = window ? now - window.startedAt : this.#interval
    // A clock that was set back must not silence the log until it has caught up.
    if (window && elapsed >= 0 && elapsed < this.#interval) {
      window.suppressed += 1
      return undefined
    }
    this.#windows.set(key, { startedAt: now, suppressed: 0 })
    return window?.suppressed ?? 0
  }
}
