/** Where to listen. */
export interface Address {
  /** A host name, or an IP address without brackets; '' stands for every address of the machine. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
}

/** Undefined for anything but `host:port`, `[::1]:port` and `:port`. */
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

/** Whether only this machine can reach it. */
export function isLoopback(address: Address): boolean {
  if (address.host === '') return false
  const { hostname } = new URL(`http://${formatAddress(address)}`)
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname)
}
