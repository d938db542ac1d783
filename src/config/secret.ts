import { inspect } from 'node:util'

/** A value that only `reveal` returns. When it is printed, logged or serialised, it is `***`. */
export class Secret {
  readonly #value: string
  readonly #shown: string

  /** `shown` is printed instead, for a value that is secret only in part. */
  constructor(value: string, shown = '***') {
    this.#value = value
    this.#shown = shown
    Object.freeze(this)
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return this.#shown
  }

  toJSON(): string {
    return this.#shown
  }

  [inspect.custom](): string {
    return this.#shown
  }
}
