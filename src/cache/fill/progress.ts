/** How far a download has come, and how fast: for those who wait for a place in it. */
export class Progress {
  readonly #now: () => number
  readonly #waiting = new Set<() => void>()
  #written = 0
  #firstByteAt: number | undefined
  #over = false

  constructor(now: () => number) {
    this.#now = now
  }

  /** Bytes. */
  get written(): number {
    return this.#written
  }

  advance(bytes: number): void {
    this.#firstByteAt ??= this.#now()
    this.#written += bytes
    this.#wake()
  }

  /** It goes no further, well or not: nobody need wait. */
  end(): void {
    this.#over = true
    this.#wake()
  }

  /** False where the byte at `offset` is neither there nor to be expected within `wait` milliseconds; true at the end. */
  async reaches(offset: number, wait: number): Promise<boolean> {
    const deadline = this.#now() + wait
    for (;;) {
      if (this.#written > offset || this.#over) return true
      const left = deadline - this.#now()
      if (left <= 0 || this.#isTooFar(offset, left)) return false
      await this.#step(Math.min(left, sample))
    }
  }

  #isTooFar(offset: number, left: number): boolean {
    const elapsed = this.#firstByteAt === undefined ? 0 : this.#now() - this.#firstByteAt
    return elapsed >= sample && offset - this.#written > (this.#written / elapsed) * left
  }

  /** Until there is more, or so many milliseconds have passed. */
  #step(wait: number): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(resume)
        resolve()
      }
      const timer = setTimeout(resume, wait)
      this.#waiting.add(resume)
    })
  }

  #wake(): void {
    if (this.#waiting.size === 0) return
    for (const resume of [...this.#waiting]) resume()
  }
}

/** Milliseconds below which a rate is noise. */
const sample = 100
