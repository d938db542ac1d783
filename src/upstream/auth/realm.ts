import { getDomain } from 'tldts'
import { hostOf } from '../target.ts'

/**
 * Whether the login for the registry at `home` may be sent to a token service at `realm`: on the registry's own host,
 * on its registrable domain, or on the configured host (`auth.example.com`, with a port, or as a URL).
 *
 * Docker Hub's registry-1.docker.io names auth.docker.io. Suffixes under which anybody can get a name (`github.io`,
 * `s3.amazonaws.com`) count as public suffixes: two names below one of them belong to different owners.
 */
export function mayReceiveLogin(realm: URL, home: URL, configured: string | undefined): boolean {
  if (realm.protocol !== 'https:' && (realm.protocol !== 'http:' || home.protocol === 'https:')) return false
  if (realm.host === home.host) return true
  if (configured !== undefined && isConfigured(realm, configured)) return true
  const domain = registrableDomain(home)
  return domain !== undefined && registrableDomain(realm) === domain
}

function isConfigured(realm: URL, configured: string): boolean {
  const url = URL.parse(configured.includes('://') ? configured : `${realm.protocol}//${configured}`)
  if (!url) return false
  return url.port === '' && !configured.includes('://') ? hostOf(realm) === hostOf(url) : realm.origin === url.origin
}

/**
 * Undefined for addresses and for names without a public suffix, such as `localhost`: only the same host and port may
 * get the login.
 */
function registrableDomain(url: URL): string | undefined {
  return getDomain(hostOf(url), { allowPrivateDomains: true }) ?? undefined
}
