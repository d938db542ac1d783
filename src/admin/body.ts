import type { IncomingMessage } from 'node:http'
import type { Context, Middleware } from 'koa'
import { AdminError, quoted } from './error.ts'

/** Bytes of a request body. */
const most = 64 * 1024

/** A body of JSON with exactly these texts in it. Throws AdminError INVALID, TOO_LARGE. */
export async function readTexts<Key extends string>(
  ctx: Context,
  ...keys: readonly Key[]
): Promise<Readonly<Record<Key, string>>> {
  const body = await readObject(ctx)
  const wanted = keys.map((key) => `"${key}": "…"`).join(', ')
  for (const key of keys) {
    if (typeof body[key] !== 'string') throw new AdminError('INVALID', `the body is to be {${wanted}}`)
  }
  refuseOthers(body, keys)
  return body as Record<Key, string>
}

/** Refuses a body that says anything. */
export function acceptNoBody(): Middleware {
  return async (ctx, next) => {
    refuseOthers(await readObject(ctx), [])
    await next()
  }
}

function refuseOthers(body: Readonly<Record<string, unknown>>, keys: readonly string[]): void {
  const other = Object.keys(body).find((key) => !keys.includes(key))
  if (other !== undefined) throw new AdminError('INVALID', `unknown key ${quoted(other)} in the body`)
}

/** Empty where there is no body. */
async function readObject(ctx: Context): Promise<Record<string, unknown>> {
  const text = await readText(ctx.req)
  if (text === undefined) {
    // The rest of it is not read, so nothing can follow it.
    ctx.set('Connection', 'close')
    throw new AdminError('TOO_LARGE', `the body is larger than ${most} bytes`)
  }
  if (text === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AdminError('INVALID', 'the body is not JSON', { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new AdminError('INVALID', 'the body is JSON, but no object')
}

/** Undefined where it is too long. */
async function readText(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      bytes += chunk.length
      if (bytes > most) return undefined
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new AdminError('INVALID', 'the body broke off', { cause })
  }
  return Buffer.concat(chunks).toString('utf8')
}
