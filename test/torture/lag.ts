const beat = 50

/** How late this process was: what it measured then says nothing about others. */
export class Lag implements Disposable {
  readonly #late: { readonly at: number; readonly by: number }[] = []
  readonly #timer: NodeJS.Timeout
  #expected = performance.now() + beat

  constructor() {
    this.#timer = setInterval(() => this.#beat(), beat)
  }

  /** Milliseconds. */
  since(from: number): number {
    return this.#late.reduce((sum, { at, by }) => (at >= from ? sum + by : sum), 0)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    const now = performance.now()
    const by = now - this.#expected
    if (by > beat) this.#late.push({ at: now, by })
    if (this.#late.length > 1000) this.#late.shift()
    this.#expected = now + beat
  }
}
