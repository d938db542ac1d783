import type { IncomingMessage } from 'node:http'
import type { Context, Middleware } from 'koa'
import { AdminError, quoted } from './error.ts'

/** Bytes of a request body. */
const maxBytes = 64 * 1024

/** Reads a JSON body that has exactly these keys, with strings. Throws AdminError INVALID, TOO_LARGE. */
export async function readTexts<Key extends string>(
  ctx: Context,
  ...keys: readonly Key[]
): Promise<Readonly<Record<Key, string>>> {
  const body = await readObject(ctx)
  const wanted = keys.map((key) => `"${key}": "…"`).join(', ')
  for (const key of keys) {
    if (typeof body[key] !== 'string') throw new AdminError('INVALID', `the body must be {${wanted}}`)
  }
  refuseOthers(body, keys)
  return body as Record<Key, string>
}

/** Refuses a body with keys. */
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

/** Returns an empty object if there is no body. */
async function readObject(ctx: Context): Promise<Record<string, unknown>> {
  const text = await readText(ctx.req)
  if (text === undefined) {
    // The rest of the body is not read, so the connection cannot be used again.
    ctx.set('Connection', 'close')
    throw new AdminError('TOO_LARGE', `the body is larger than ${maxBytes} bytes`)
  }
  if (text === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AdminError('INVALID', 'the body is not JSON', { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new AdminError('INVALID', 'the body is JSON, but not an object')
}

/** Returns undefined if the body is too large. */
async function readText(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      bytes += chunk.length
      if (bytes > maxBytes) return undefined
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new AdminError('INVALID', 'the body ended early', { cause })
  }
  return Buffer.concat(chunks).toString('utf8')
}
