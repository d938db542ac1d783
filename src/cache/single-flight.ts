/** Does work once for all who ask for the same key while it runs. Holds no more than what runs. */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>()

  /** `joined`: somebody else started it. */
  run(key: string, work: () => Promise<T>): { result: Promise<T>; joined: boolean } {
    const running = this.#running.get(key)
    if (running) return { result: running, joined: true }
    const result = work().finally(() => this.#running.delete(key))
    this.#running.set(key, result)
    return { result, joined: false }
  }
}
