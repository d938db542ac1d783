import { formatAddress } from '../config/address.ts'
import { loadConfig } from '../config/load.ts'
import { type Invocation, text, UsageError } from './command.ts'

/** A running mirror's admin listener, and its token. */
export interface AdminAddress {
  /** Ends with a slash. */
  readonly url: URL
  readonly token: string | undefined
}

/** Addresses that mean every interface, and the one to connect to on the same machine. */
const loopbacks = new Map([
  ['', '127.0.0.1'],
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
])

/** From the flags, or else from the configuration, which is read as the mirror reads it. */
export async function adminAddress({
  flags,
  environment,
}: Pick<Invocation, 'flags' | 'environment'>): Promise<AdminAddress> {
  const [given, config] = [text(flags, 'admin'), text(flags, 'config')]
  const token = text(flags, 'token') ?? (environment['ENTREPOT_ADMIN_TOKEN'] || undefined)
  if (given !== undefined && config === undefined) return { url: parseUrl(given), token }
  const file = config ?? (environment['ENTREPOT_CONFIG'] || undefined)
  const { admin } = await loadConfig(file, { ...environment, ENTREPOT_ADMIN_TOKEN: token })
  const { host, port } = admin.listen
  const url = given ?? `http://${formatAddress({ host: loopbacks.get(host) ?? host, port })}`
  return { url: parseUrl(url), token: admin.token?.reveal() }
}

function parseUrl(text: string): URL {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  const isHttp = /^https?:$/.test(url?.protocol ?? '')
  if (!isHttp || url?.search !== '' || url.hash !== '' || url.username !== '' || url.port === '0') {
    throw new UsageError(`--admin must be a URL such as http://127.0.0.1:5001, not ${JSON.stringify(text)}`)
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}
