/** An address to listen on. */
export interface Address {
  /** A host name, or an IP address without brackets; '' means every address of the machine. */
  readonly host: string
  /** With 0 the system chooses a free port. */
  readonly port: number
}

/** Undefined unless it is `host:port`, `[::1]:port` or `:port`. */
export function parseAddress(text: string): Address | undefined {
  const [, six, host = '', digits] = /^(?:\[([\da-fA-F:.]+)\]|([a-zA-Z\d.-]*)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits ?? Number.NaN)
  if (!(port <= 65_535)) return undefined
  const address = { host: six ?? host, port }
  return address.host === '' || URL.canParse(`http://${formatAddress(address)}`) ? address : undefined
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether it can be reached only from this machine. */
export function isLoopback(address: Address): boolean {
  if (address.host === '') return false
  const { hostname } = new URL(`http://${formatAddress(address)}`)
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname)
}
