import { isIPv4 } from 'node:net'
import type { Middleware } from 'koa'
import { AdminError } from './error.ts'

/**
 * Refuses a request whose `Host` is not a name of this listener. This stops DNS rebinding: a page can point its own host
 * name at a loopback address to read from there, but the browser still sends that name.
 *
 * The address that the client connected to is also accepted. It cannot be a rebound name, and health probes of container
 * platforms send it if the listener is bound to every address.
 *
 * `boundHost`: the host to listen on, as configured; `hosts`: other names that requests may use, whose port is ignored.
 */
export function checkHost(boundHost: string, hosts: readonly string[]): Middleware {
  const names = new Set([boundHost, ...hosts].flatMap((host) => hostname(host) ?? hostname(`[${host}]`) ?? []))
  return async (ctx, next) => {
    const name = hostname(ctx.req.headers.host ?? '')
    const allowed = name !== undefined && (isLoopback(name) || names.has(name) || name === local(ctx.req.socket))
    if (!allowed) throw new AdminError('MISDIRECTED')
    await next()
  }
}

/** The canonical host name in a `Host` header, without its port; undefined if the header is not valid. */
function hostname(header: string): string | undefined {
  const plain = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{0,5})?$/i.test(header)
  return plain ? URL.parse(`http://${header}`)?.hostname.replace(/\.$/, '') : undefined
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || (isIPv4(name) && name.startsWith('127.'))
}

/** The address the client connected to. On an IPv6 listener, Node reports IPv4 as `::ffff:…`. */
function local({ localAddress }: { readonly localAddress?: string | undefined }): string | undefined {
  const address = localAddress?.replace(/^::ffff:(?=\d+\.)/i, '') ?? ''
  return hostname(address.includes(':') ? `[${address}]` : address)
}
