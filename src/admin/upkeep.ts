import { setTimeout as sleep } from 'node:timers/promises'
import type { Router } from '@koa/router'
import type { Log } from '../telemetry/log.ts'
import type { AdminActions } from './actions.ts'
import { acceptNoBody } from './body.ts'
import { AdminError } from './error.ts'
import { acceptQuery } from './query.ts'

export interface UpkeepOptions extends Pick<AdminActions, 'eviction' | 'scrub'> {
  readonly log: Log
}

/** The mirror looks whether anything has to go each time something comes, and is done in no time when nothing has. */
const look = 250

/** What the mirror does by itself, done now. */
export function addUpkeepRoutes(router: Router, { eviction, scrub, log }: UpkeepOptions): void {
  let asked = false
  router.post('/api/evict', acceptQuery(), acceptNoBody(), async (ctx) => {
    if (asked) throw underWay('an eviction')
    asked = true
    try {
      if (eviction.isRunning) await sleep(look)
      if (eviction.isRunning) throw underWay('an eviction')
      const { blobs, bytes } = await eviction.run()
      ctx.body = { blobs, bytes }
    } finally {
      asked = false
    }
  })
  router.get('/api/scrub', acceptQuery(), (ctx) => {
    ctx.body = scrub.status
  })
  router.post('/api/scrub', acceptQuery(), acceptNoBody(), (ctx) => {
    if (scrub.status.state === 'running') throw underWay('a scrub')
    scrub.run(Number.POSITIVE_INFINITY).catch((error: unknown) => log.error('scrub failed', { error }))
    ctx.status = 202
    ctx.body = scrub.status
  })
}

function underWay(what: string): AdminError {
  return new AdminError('CONFLICT', `${what} is under way already`)
}
