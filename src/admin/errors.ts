import type { Context, Middleware } from 'koa'
import type { Log } from '../telemetry/log.ts'
import type { ProblemAnswer } from './answers.ts'
import { AdminError, adminErrorCodes } from './error.ts'

/** The one place where errors become answers. Unknown paths and methods get the same envelope. */
export function answerErrors(log: Log): Middleware {
  return async (ctx, next) => {
    try {
      await next()
      if (ctx.status === 404) answer(ctx, new AdminError('NOT_FOUND'))
      else if (ctx.status === 405 || ctx.status === 501) answer(ctx, new AdminError('UNSUPPORTED'))
    } catch (error) {
      if (!(error instanceof AdminError)) {
        log.error('admin request failed', { method: ctx.method, path: ctx.path, error })
      }
      answer(ctx, error instanceof AdminError ? error : new AdminError('UNKNOWN'))
    }
  }
}

function answer(ctx: Context, { code, message }: AdminError): void {
  ctx.status = adminErrorCodes[code].status
  ctx.body = { errors: [{ code, message }] } satisfies ProblemAnswer
}
