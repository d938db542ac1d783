import { Router } from '@koa/router'
import type { Counters } from '../telemetry/counters.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { requireJsonWrites } from './access.ts'
import type { AdminActions } from './actions.ts'
import type { AdminApi } from './answers.ts'
import { AdminError } from './error.ts'
import type { Events } from './events.ts'
import { addImageRoutes } from './images.ts'
import { addPinRoutes } from './pins.ts'
import { acceptQuery } from './query.ts'
import type { AdminSources } from './sources.ts'
import { statsOf, upstreamsOf } from './stats.ts'
import { addUpkeepRoutes } from './upkeep.ts'

export interface ApiOptions {
  readonly counters: Counters
  readonly metrics: Metrics
  readonly sources: AdminSources
  readonly actions: AdminActions
  readonly events: Events
  readonly log: Log
  /** Seconds since the start. */
  readonly uptime: () => number
}

export function apiRouter({ counters, metrics, sources, actions, events, log, uptime }: ApiOptions): Router {
  const router = new Router({ strict: true, sensitive: true })
  // Runs only if path and method match, so that an unknown method is 405 and not 415.
  router.use(requireJsonWrites())
  router.get('/metrics', async (ctx) => {
    ctx.body = await metrics.text()
    ctx.set('Content-Type', metrics.contentType)
  })
  router.get('/api/stats', acceptQuery(), async (ctx) => {
    ctx.body = (await statsOf(counters, sources, uptime())) satisfies AdminApi['GET']['stats']
  })
  router.get('/api/upstreams', acceptQuery(), (ctx) => {
    ctx.body = upstreamsOf(counters, sources) satisfies AdminApi['GET']['upstreams']
  })
  router.get('/api/fills', acceptQuery(), (ctx) => {
    ctx.body = sources.fills() satisfies AdminApi['GET']['fills']
  })
  router.get('/api/events', acceptQuery(), (ctx) => {
    const stream = events.open()
    if (!stream) throw new AdminError('BUSY')
    ctx.type = 'text/event-stream'
    // Otherwise nginx buffers the events.
    ctx.set('X-Accel-Buffering', 'no')
    ctx.body = stream
  })
  addImageRoutes(router, actions)
  addPinRoutes(router, actions)
  addUpkeepRoutes(router, actions, log)
  return router
}
