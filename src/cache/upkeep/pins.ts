import type { ContentIndex, TaggedImage } from '../../metadata/content-index.ts'
import { type Pin, parsePin } from '../../oci/pin.ts'
import { pagesOf } from './pages.ts'

/** The patterns of images that are never evicted. */
export class Pins {
  readonly #index: ContentIndex

  constructor(index: ContentIndex) {
    this.#index = index
  }

  /** In order of pattern. */
  async list(): Promise<readonly Pin[]> {
    return (await this.#index.pins()).flatMap((pattern) => parsePin(pattern) ?? [])
  }

  /** Whether the pin matches a known tag. */
  async isMatched(pin: Pin): Promise<boolean> {
    const pages = pagesOf<TaggedImage>((after, limit) => this.#index.images(pin.prefix, after, limit))
    for await (const images of pages) {
      if (images.some(({ repository, tag }) => pin.matches(repository, tag))) return true
    }
    return false
  }

  /** False where the pin was there already. */
  add(pin: Pin): Promise<boolean> {
    return this.#index.addPin(pin.pattern)
  }

  /** False where there was no such pin. */
  delete(pin: Pin): Promise<boolean> {
    return this.#index.deletePin(pin.pattern)
  }
}
