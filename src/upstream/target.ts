import { BlockList, isIP } from 'node:net'

// Whoever may make us send requests (a registry by its redirects and token realms) must not reach what only this
// machine can reach. Literal addresses only: a name that resolves to such an address is not seen here.

/** Link-local addresses, and the fixed ones that clouds serve credentials on. Nothing of a registry is ever there. */
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

/** Why a request may not go to `target` on the word of the registry at `home`; undefined where it may. */
export function targetRefusal(target: URL, home: URL): string | undefined {
  if (target.origin === home.origin) return undefined
  if (target.protocol !== 'https:' && target.protocol !== 'http:') return 'not an HTTP address'
  if (target.protocol === 'http:' && home.protocol === 'https:') return 'a step down from https to http'
  const host = hostOf(target)
  if (host === 'metadata.google.internal' || isIn(forbidden, host)) return 'a link-local or metadata address'
  if (isInternal(host) && home.protocol === 'https:' && !isInternal(hostOf(home))) return 'a private address'
  return undefined
}

/** The host name alone: lower-case, without port, brackets and the root's dot. */
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
