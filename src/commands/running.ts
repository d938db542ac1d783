import type { Command } from './command.ts'
import { evictCommand } from './evict.ts'
import { imagesCommand } from './images.ts'
import { pinCommand, unpinCommand } from './pin.ts'
import { purgeCommand } from './purge.ts'
import { scrubCommand } from './scrub.ts'
import { statsCommand } from './stats.ts'

/** The commands that use the admin API of a running mirror. */
export const runningCommands: ReadonlyMap<string, Command> = new Map([
  ['stats', statsCommand],
  ['images', imagesCommand],
  ['purge', purgeCommand],
  ['pin', pinCommand],
  ['unpin', unpinCommand],
  ['evict', evictCommand],
  ['scrub', scrubCommand],
])
