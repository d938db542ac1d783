import type { Terminal } from './command.ts'

const width = 30
/** Milliseconds between two lines where nobody sees them come. */
const seldom = 5000

/** How far something is: a bar that moves on a terminal, a line from time to time elsewhere. */
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

  /** `part` of 1; it is not the last, so never quite 1. */
  update(part: number, text: string): void {
    if (this.#terminal.live) {
      const filled = Math.floor(Math.min(Math.max(part, 0), 0.99) * width)
      this.#terminal.out(`\r\u001b[K[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${text}`)
      this.#drawn = true
      return
    }
    this.#waited += this.#interval
    if (this.#waited < seldom) return
    this.#waited = 0
    this.#terminal.out(`${text}\n`)
  }

  /** What comes next begins a line. */
  clear(): void {
    if (this.#drawn) this.#terminal.out('\r\u001b[K')
    this.#drawn = false
  }
}
