import { createHash, timingSafeEqual } from 'node:crypto'
import type { Middleware } from 'koa'
import { essence } from '../oci/media-type.ts'
import { AdminError } from './error.ts'

/** Requires `Authorization: Bearer` with the token, if a token is set. */
export function requireToken(token: string | undefined): Middleware {
  if (token === undefined) return (_ctx, next) => next()
  const expected = sha256(token)
  return async (ctx, next) => {
    const given = /^bearer +(\S+) *$/i.exec(ctx.get('Authorization'))?.[1]
    // Hashes have one length, so the comparison takes the same time for every wrong token.
    if (given === undefined || !timingSafeEqual(sha256(given), expected)) {
      ctx.set('WWW-Authenticate', 'Bearer')
      throw new AdminError('UNAUTHORIZED')
    }
    await next()
  }
}

const reads = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Requires `Content-Type: application/json` on writes. A page of another origin can send it only after a CORS preflight,
 * which this listener does not grant.
 */
export function requireJsonWrites(): Middleware {
  return async (ctx, next) => {
    if (!reads.has(ctx.method) && essence(ctx.get('Content-Type')) !== 'application/json') {
      throw new AdminError('UNSUPPORTED_MEDIA_TYPE')
    }
    await next()
  }
}

export function securityHeaders(): Middleware {
  return async (ctx, next) => {
    ctx.set('X-Content-Type-Options', 'nosniff')
    ctx.set('Cache-Control', 'no-store')
    await next()
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
