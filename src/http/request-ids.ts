import { randomBytes } from 'node:crypto'

/** Names for requests: unlike those of any other start, and short. */
export class RequestIds {
  readonly #prefix = randomBytes(4).toString('hex')
  #count = 0

  next(): string {
    this.#count += 1
    return `${this.#prefix}-${this.#count.toString(36)}`
  }
}
