/** Holds whoever passes until it is opened, and tells who has come: tests hold a download at a place instead of sleeping. */
export class Gate {
  #opening = Promise.withResolvers<void>()
  #arrivals = 0
  #waiting: { count: number; resolve: () => void }[] = []

  get arrivals(): number {
    return this.#arrivals
  }

  open(): void {
    this.#opening.resolve()
  }

  /** Called by the one to be held. */
  pass(): Promise<void> {
    this.#arrivals += 1
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (count > this.#arrivals) return true
      resolve()
      return false
    })
    return this.#opening.promise
  }

  /** Resolves once `count` have come to the gate. */
  arrived(count = 1): Promise<void> {
    if (this.#arrivals >= count) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push({ count, resolve })
    })
  }
}
