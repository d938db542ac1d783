/** Writes that their callers do not wait for. A failure is reported and goes no further. */
export class WriteBehind {
  readonly #onFailure: (error: unknown) => void
  readonly #running = new Map<string, Promise<void>>()

  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure
  }

  /** Starts the write, after the earlier writes of the same key have ended. */
  start(key: string, write: () => Promise<void>): void {
    const before = this.#running.get(key)
    const own = (before ? before.then(write) : write()).catch(this.#onFailure).then(() => {
      if (this.#running.get(key) === own) this.#running.delete(key)
    })
    this.#running.set(key, own)
  }

  isRunning(key: string): boolean {
    return this.#running.has(key)
  }

  /** Resolves when the writes of `key` that were started have ended, well or not. */
  async ended(key: string): Promise<void> {
    await this.#running.get(key)
  }

  async allEnded(): Promise<void> {
    await Promise.all(this.#running.values())
  }
}
