import { Router } from '@koa/router'
import type { AdminSources } from './sources.ts'

/**
 * `/livez` touches nothing: it answers as long as the event loop turns. `/readyz` is 503 only before the mirror takes
 * requests and once it no longer does: a mirror that is taken out of service because its upstream, Redis or disk is in
 * trouble has missed its purpose. Such trouble is told as `degraded`.
 */
export function healthRouter(sources: Pick<AdminSources, 'readiness' | 'degraded'>): Router {
  const router = new Router({ strict: true, sensitive: true })
  router.get('/livez', (ctx) => {
    ctx.body = { status: 'alive' }
  })
  router.get('/readyz', (ctx) => {
    const status = sources.readiness()
    ctx.status = status === 'ready' ? 200 : 503
    ctx.body = { status, degraded: sources.degraded() }
  })
  return router
}
