import Koa from 'koa'
import { requireToken, securityHeaders } from './access.ts'
import { type ApiOptions, apiRouter } from './api.ts'
import { answerErrors } from './errors.ts'
import { healthRouter } from './health.ts'
import { checkHost } from './host.ts'

export interface AdminOptions extends Omit<ApiOptions, 'uptime'> {
  /** The bearer token that requests need; undefined if none is needed. */
  readonly token: string | undefined
  /** The host to listen on, as configured, without its port. */
  readonly boundHost: string
  /** `admin.hosts`: other host names that requests may use. */
  readonly hosts: readonly string[]
  /** Epoch milliseconds. Uptime counts from the call. */
  readonly now: () => number
}

/** The app of the second listener: health, metrics, statistics and actions. The caller serves it. */
export function createAdminApp(options: AdminOptions): Koa {
  const { token, boundHost, hosts, sources, log, now } = options
  const startedAt = now()
  const uptime = () => Math.max(0, (now() - startedAt) / 1000)
  const health = healthRouter(sources)
  const api = apiRouter({ ...options, uptime })
  const app = new Koa()
  app.use(securityHeaders())
  app.use(answerErrors(log))
  app.use(checkHost(boundHost, hosts))
  app.use(health.routes())
  app.use(health.allowedMethods())
  app.use(requireToken(token))
  app.use(api.routes())
  app.use(api.allowedMethods())
  app.on('error', (error: unknown) => log.debug('admin answer was cut off', { error }))
  return app
}
