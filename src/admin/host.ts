import { isIPv4 } from 'node:net'
import type { Middleware } from 'koa'
import { AdminError } from './error.ts'

export interface HostOptions {
  /** The host that the listener was told to bind, as configured. */
  readonly boundHost: string
  /** Further names by which it may be reached; a port in them does not count. */
  readonly hosts: readonly string[]
}

/**
 * Refuses a request whose `Host` is not a name of this listener. A page in a browser can point a name of its own at a
 * loopback address and then read what it likes from there; but the browser goes on sending that name.
 *
 * Bound to every address, the one that the client connected to counts as the bound one: a rebound name is never an IP
 * address, and probes of container platforms send the container's.
 */
export function checkHost({ boundHost, hosts }: HostOptions): Middleware {
  const names = new Set([boundHost, ...hosts].flatMap((host) => hostname(host) ?? hostname(`[${host}]`) ?? []))
  return async (ctx, next) => {
    const name = hostname(ctx.req.headers.host ?? '')
    const allowed = name !== undefined && (isLoopback(name) || names.has(name) || name === local(ctx.req.socket))
    if (!allowed) throw new AdminError('MISDIRECTED')
    await next()
  }
}

/** A `Host` header's name without its port, in the one way to write it; undefined if it is none. */
function hostname(header: string): string | undefined {
  const plain = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{0,5})?$/i.test(header)
  return plain ? URL.parse(`http://${header}`)?.hostname.replace(/\.$/, '') : undefined
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || (isIPv4(name) && name.startsWith('127.'))
}

/** The address the client connected to; IPv4 through an IPv6 listener is told as `::ffff:…`. */
function local({ localAddress }: { readonly localAddress?: string | undefined }): string | undefined {
  const address = localAddress?.replace(/^::ffff:(?=\d+\.)/i, '') ?? ''
  return hostname(address.includes(':') ? `[${address}]` : address)
}
