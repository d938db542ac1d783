import type { Eviction } from '../cache/eviction.ts'
import type { Images } from '../cache/images.ts'
import type { Pins } from '../cache/pins.ts'
import type { Purge } from '../cache/purge.ts'
import type { Scrub } from '../cache/scrub.ts'

/** What an operator can look into and change. */
export interface Keeper {
  readonly images: Pick<Images, 'list'>
  readonly pins: Pick<Pins, 'list' | 'isMatched' | 'add' | 'delete'>
  readonly purge: Pick<Purge, 'image' | 'repository' | 'upstream' | 'digest'>
  readonly eviction: Pick<Eviction, 'run' | 'isRunning'>
  readonly scrub: Pick<Scrub, 'run' | 'status'>
}
