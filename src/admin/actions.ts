import type { Eviction } from '../cache/upkeep/eviction.ts'
import type { Images } from '../cache/upkeep/images.ts'
import type { Pins } from '../cache/upkeep/pins.ts'
import type { Purge } from '../cache/upkeep/purge.ts'
import type { Scrub } from '../cache/upkeep/scrub.ts'

/** What an operator can list and change by the admin API. */
export interface AdminActions {
  readonly images: Pick<Images, 'list'>
  readonly pins: Pick<Pins, 'list' | 'isMatched' | 'add' | 'delete'>
  readonly purge: Pick<Purge, 'image' | 'repository' | 'upstream' | 'digest'>
  readonly eviction: Pick<Eviction, 'run' | 'isRunning'>
  readonly scrub: Pick<Scrub, 'run' | 'status'>
}
