import { BlockList, isIP } from 'node:net'

// A registry chooses where we send requests, by redirects and token realms. It must not make us reach addresses that
// only this machine can reach. This file checks literal addresses only, not what a name resolves to.

/**
 * Link-local, multicast and reserved addresses, and those on which clouds serve credentials. No registry is ever there.
 */
const forbidden = blockList([
  '169.254.0.0/16',
  'fe80::/10',
  'fd00:ec2::254/128', // AWS
  'fd20:ce::254/128', // Google Cloud
  '100.100.100.200/32', // Alibaba Cloud
  '168.63.129.16/32', // Azure
  '192.0.0.192/32', // Oracle Cloud
  '224.0.0.0/4',
  '240.0.0.0/4',
  'ff00::/8',
])

/** Private and loopback addresses. A registry on such an address may lead to others; a public one may not. */
const internal = blockList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '::/127',
  '64:ff9b::/96',
  'fc00::/7',
])

/** Why a request that the registry at `home` asks for must not go to `target`; undefined where it may. */
export function targetRefusal(target: URL, home: URL): string | undefined {
  if (target.origin === home.origin) return undefined
  if (target.protocol !== 'https:' && target.protocol !== 'http:') return 'not an HTTP address'
  if (target.protocol === 'http:' && home.protocol === 'https:') return 'a step down from https to http'
  const host = hostOf(target)
  if (host === 'metadata.google.internal' || isIn(forbidden, host)) return 'a link-local or metadata address'
  if (isInternal(host) && home.protocol === 'https:' && !isInternal(hostOf(home))) return 'a private address'
  return undefined
}

/** The host name in lower case, without port, brackets and final dot. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$|\.$/g, '')
}

function isInternal(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isIn(internal, host)
}

function isIn(list: BlockList, host: string): boolean {
  const version = isIP(host)
  return version !== 0 && list.check(host, version === 6 ? 'ipv6' : 'ipv4')
}

function blockList(subnets: readonly string[]): BlockList {
  const list = new BlockList()
  for (const subnet of subnets) {
    const [address = '', bits] = subnet.split('/')
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}
