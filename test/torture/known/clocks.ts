import { eventually } from '../../e2e/support/daemon.ts'
import { image, randomBlob } from '../../support/image.ts'
import { afterDeed, given, type KnownFault } from './known-fault.ts'

const repository = 'team/app'
const day = 24 * 60 * 60 * 1000
const preload = `--import=${new URL('clock.ts', import.meta.url).href}`

/** What a wrong clock does that was set right. */
export const clocks: readonly KnownFault[] = [
  {
    id: 'clock-ahead-freezes-tag',
    fault: 'The record of a tag that was made while the clock was days ahead is not replaced by a later one.',
    should: 'A record from the future loses: the tag moves, and is remembered where it moved to.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addImage(repository, 'latest', image())
      const env = { NODE_OPTIONS: preload, CLOCK_AHEAD: String(2 * day) }
      const mirror = await world.mirror(upstream, { env })
      given((await mirror.manifest(repository, 'latest')).status === 200, 'the tag is not known')
      await mirror.keeps(1)
      await mirror.stop()
      await mirror.start()
      const moved = upstream.addImage(repository, 'latest', image({ config: { moved: true } }))
      given((await mirror.manifest(repository, 'latest')).digest === moved, 'the move is not seen')
      await mirror.keeps(2)
      await upstream.stop()
      return (await mirror.manifest(repository, 'latest')).digest === moved ? 'the new image' : 'the old image'
    },
    today: 'the old image',
    right: 'the new image',
    tolerates: afterDeed('old-tag', 'step-clock back'),
  },
  {
    id: 'clock-ahead-empties-store',
    fault: 'With maxIdle, a clock that is a year ahead for a moment evicts everything.',
    should: 'A jump of the clock is told, and nothing is deleted for it for an hour.',
    observe: async (world) => {
      const upstream = await world.upstream()
      const digest = upstream.addBlob(repository, randomBlob(10_000))
      const env = { NODE_OPTIONS: preload, CLOCK_AHEAD: String(365 * day), CLOCK_STEPS: 'yes' }
      const mirror = await world.mirror(upstream, { env, storage: { maxIdle: '30d' } })
      given((await mirror.blob(repository, digest)).complete, 'the blob is not served')
      await eventually(() => mirror.holds(digest), 'the blob to be stored')
      await mirror.keeps(1)
      mirror.signal('SIGUSR2')
      // What the mirror does by itself each minute; more than once, since the signal may be heard a little later.
      for (let n = 0; n < 3; n += 1) {
        given((await mirror.call('/api/evict', 'POST')).status === 200, 'the eviction does not run')
      }
      mirror.signal('SIGUSR2')
      return mirror.holds(digest) ? 'kept' : 'evicted'
    },
    today: 'evicted',
    right: 'kept',
  },
]
