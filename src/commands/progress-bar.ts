import type { Terminal } from './command.ts'

const width = 30
/** Milliseconds between two lines if the output is not a terminal. */
const lineInterval = 5000

/** Shows progress: a moving bar on a terminal, a line from time to time elsewhere. */
export class ProgressBar {
  readonly #terminal: Terminal
  readonly #interval: number
  #waited = 0
  #drawn = false

  /** `interval`: milliseconds between two updates. */
  constructor(terminal: Terminal, interval: number) {
    this.#terminal = terminal
    this.#interval = interval
  }

  /** `part` is from 0 to 1. The bar is never full: `clear` ends it. */
  update(part: number, text: string): void {
    if (this.#terminal.live) {
      const filled = Math.floor(Math.min(Math.max(part, 0), 0.99) * width)
      this.#terminal.out(`\r\u001b[K[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${text}`)
      this.#drawn = true
      return
    }
    this.#waited += this.#interval
    if (this.#waited < lineInterval) return
    this.#waited = 0
    this.#terminal.out(`${text}\n`)
  }

  /** Removes the bar. */
  clear(): void {
    if (this.#drawn) this.#terminal.out('\r\u001b[K')
    this.#drawn = false
  }
}
