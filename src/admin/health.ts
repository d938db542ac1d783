import { Router } from '@koa/router'
import type { AdminSources } from './sources.ts'

/**
 * `/livez` uses no dependency: it answers while the event loop runs. `/readyz` is 503 only while the mirror starts or
 * stops. It stays 200 while an upstream, Redis or the disk fails, since the mirror is made to go on then; such failures
 * are listed as `degraded`.
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
