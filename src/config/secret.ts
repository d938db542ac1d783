import { inspect } from 'node:util'

/** A value that shows itself only to who asks for it by name: printed, logged or serialised it is `***`. */
export class Secret {
  readonly #value: string
  readonly #shown: string

  /** `shown` is printed in its place: for a value of which a part is no secret. */
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
