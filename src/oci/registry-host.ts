/** Docker Hub's name, as users write it. Its registry has another host name. */
export const dockerHub = 'docker.io'

const dockerHubAliases = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])

/**
 * The canonical name of a registry: lower-case, and `docker.io` for every name of Docker Hub. The text is not checked.
 * Only ASCII letters are lower-cased: others that become ASCII (the Kelvin sign) are not part of a host name.
 */
export function canonicalHost(text: string): string {
  const host = text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  return dockerHubAliases.has(host) ? dockerHub : host
}

const label = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?'
const hostPattern = new RegExp(`^${label}(?:\\.${label})*(?::[1-9]\\d{0,4})?$`)
const maxLength = 255 + ':65535'.length

/**
 * Whether it is `host` or `host:port`, lower-case, and could not be the first part of a repository name: it has a dot or a
 * colon, or is `localhost`.
 */
export function isRegistryHost(text: string): boolean {
  return text.length <= maxLength && hostPattern.test(text) && /[.:]|^localhost$/.test(text)
}
