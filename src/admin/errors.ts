import type { Context, Middleware } from 'koa'
import type { Log } from '../telemetry/log.ts'
import { AdminError, type AdminErrorCode, adminErrorCodes } from './error.ts'

/** The one place where errors become answers; what the router leaves open is answered in the same envelope. */
export function answerErrors(log: Log): Middleware {
  return async (ctx, next) => {
    try {
      await next()
      if (ctx.status === 404) answer(ctx, 'NOT_FOUND')
      else if (ctx.status === 405 || ctx.status === 501) answer(ctx, 'UNSUPPORTED')
    } catch (error) {
      const code = error instanceof AdminError ? error.code : 'UNKNOWN'
      if (code === 'UNKNOWN') log.error('admin request failed', { method: ctx.method, path: ctx.path, error })
      answer(ctx, code)
    }
  }
}

function answer(ctx: Context, code: AdminErrorCode): void {
  const { status, message } = adminErrorCodes[code]
  ctx.status = status
  ctx.body = { errors: [{ code, message }] }
}
