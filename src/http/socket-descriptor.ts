import type { Socket } from 'node:net'

/**
 * The descriptor of an open connection, for the kernel to move bytes into. Node.js has no public property for it; this is
 * the one use of a private one. Undefined where there is none, or not any more: then everything is read and written.
 */
export function descriptorOf(socket: Socket | null): number | undefined {
  if (!socket || socket.destroyed) return undefined
  const { fd } = (socket as Socket & { _handle?: { fd?: unknown } })._handle ?? {}
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}
