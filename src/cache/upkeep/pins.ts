import type { ContentIndex } from '../../metadata/content-index.ts'
import { type Pin, parsePin } from './pin.ts'

const page = 100

/** The images that stay, whatever happens: by patterns. */
export class Pins {
  readonly #index: ContentIndex

  constructor(index: ContentIndex) {
    this.#index = index
  }

  /** In order of pattern. */
  async list(): Promise<readonly Pin[]> {
    return (await this.#index.pins()).flatMap((pattern) => parsePin(pattern) ?? [])
  }

  /** Whether a tag is known that a pin matches. */
  async isMatched(pin: Pin): Promise<boolean> {
    for (let images = await this.#index.images(pin.prefix, undefined, page); ; ) {
      if (images.some(({ repository, tag }) => pin.matches(repository, tag))) return true
      if (images.length < page) return false
      images = await this.#index.images(pin.prefix, images.at(-1), page)
    }
  }

  /** False where it was there already. */
  add(pin: Pin): Promise<boolean> {
    return this.#index.addPin(pin.pattern)
  }

  /** False where there was none. */
  delete(pin: Pin): Promise<boolean> {
    return this.#index.deletePin(pin.pattern)
  }
}
