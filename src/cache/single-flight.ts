/** Work done once for all who ask for the same thing while it is under way. Bounded by the work itself. */
export class Flight<T> {
  readonly #running = new Map<string, Promise<T>>()

  /** `joined` tells whether somebody else had started it. */
  run(key: string, work: () => Promise<T>): { result: Promise<T>; joined: boolean } {
    const running = this.#running.get(key)
    if (running) return { result: running, joined: true }
    const result = work().finally(() => this.#running.delete(key))
    this.#running.set(key, result)
    return { result, joined: false }
  }
}
