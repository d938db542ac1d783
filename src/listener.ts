import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Address, formatAddress } from './config/address.ts'
import { listen } from './http/server.ts'

/** Binds a server. Rejects with one line that names the address and the reason. */
export async function open(server: Server, address: Address): Promise<void> {
  try {
    await listen(server, { ...address, host: address.host === '' ? '::' : address.host })
  } catch (cause) {
    throw new Error(`cannot listen on ${formatAddress(address)}: ${reasonOf(cause as NodeJS.ErrnoException)}`, {
      cause,
    })
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'EADDRINUSE') return 'another process listens there'
  if (error.code === 'EACCES') return 'permission denied'
  return error.message
}

/** Where it listens, as `host:port`: a port 0 has become a real one. Only after `open`. */
export function boundAddress(server: Server): string {
  const { address, port } = server.address() as AddressInfo
  return formatAddress({ host: address, port })
}
