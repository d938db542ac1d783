import { Router } from '@koa/router'
import type { Counters } from '../telemetry/counters.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { requireJsonWrites } from './access.ts'
import type { AdminSources } from './sources.ts'
import { reportsOf, statsOf } from './stats.ts'

export interface ApiOptions {
  readonly counters: Counters
  readonly metrics: Metrics
  readonly sources: AdminSources
  /** Seconds since the start. */
  readonly uptime: () => number
}

export function apiRouter({ counters, metrics, sources, uptime }: ApiOptions): Router {
  const router = new Router({ strict: true, sensitive: true })
  // Runs for requests that match a path and its method: a method that a path does not have is 405, not 415.
  router.use(requireJsonWrites())
  router.get('/metrics', async (ctx) => {
    ctx.body = await metrics.text()
    ctx.set('Content-Type', metrics.contentType)
  })
  router.get('/api/stats', async (ctx) => {
    ctx.body = await statsOf({ counters, sources, uptime: uptime() })
  })
  router.get('/api/upstreams', (ctx) => {
    ctx.body = reportsOf(sources)
  })
  router.get('/api/fills', (ctx) => {
    ctx.body = sources.fills()
  })
  return router
}
