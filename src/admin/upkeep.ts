import { setTimeout as sleep } from 'node:timers/promises'
import type { Router } from '@koa/router'
import type { Log } from '../telemetry/log.ts'
import type { AdminActions } from './actions.ts'
import type { AdminApi } from './answers.ts'
import { acceptNoBody } from './body.ts'
import { AdminError } from './error.ts'
import { acceptQuery } from './query.ts'

/**
 * Milliseconds. A check whether anything must be evicted runs whenever content comes, and is mostly over at once: wait
 * this long before a running one counts as a conflict.
 */
const checkTime = 250

/** Routes that start eviction or a scrub now. */
export function addUpkeepRoutes(router: Router, { eviction, scrub }: AdminActions, log: Log): void {
  let requested = false
  router.post('/api/evict', acceptQuery(), acceptNoBody(), async (ctx) => {
    if (requested) throw alreadyRunning('an eviction')
    requested = true
    try {
      if (eviction.isRunning) await sleep(checkTime)
      if (eviction.isRunning) throw alreadyRunning('an eviction')
      const { blobs, bytes } = await eviction.run()
      ctx.body = { blobs, bytes } satisfies AdminApi['POST']['evict']
    } finally {
      requested = false
    }
  })
  router.get('/api/scrub', acceptQuery(), (ctx) => {
    ctx.body = scrub.status satisfies AdminApi['GET']['scrub']
  })
  router.post('/api/scrub', acceptQuery(), acceptNoBody(), (ctx) => {
    if (scrub.status.state === 'running') throw alreadyRunning('a scrub')
    scrub.run(Number.POSITIVE_INFINITY).catch((error: unknown) => log.error('scrub failed', { error }))
    ctx.status = 202
    ctx.body = scrub.status satisfies AdminApi['POST']['scrub']
  })
}

function alreadyRunning(what: string): AdminError {
  return new AdminError('CONFLICT', `${what} is already running`)
}
